// W1 and W2 of docs/benchmarks.md for Restate: each of the five steps of W2 is a durable step of its own.
import * as restate from "@restatedev/restate-sdk";

const sink = process.env.SINK;
const fields = (order) => ({ ...order, source: "bench", label: `order-${order.id}`, total: order.amount * 2 });
const route = (order) => (order.amount >= 100 ? "high" : "low");
const effect = async (body) => {
  const answer = await fetch(sink, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return answer.json();
};

const flow = restate.service({
  name: "flow",
  handlers: {
    w1: async (_ctx, order) => {
      const { id, total, label, amount } = fields(order);
      return { id, total, label, route: route({ amount }) };
    },
    w2: async (ctx, order) => {
      const set = await ctx.run("fields", () => fields(order));
      const way = await ctx.run("route", () => route(set));
      const parts = [ctx.run("a", () => ({ a: 1 })), ctx.run("b", () => ({ b: 2 }))];
      const [a, b] = await restate.RestatePromise.all(parts);
      const body = { id: set.id, route: way, total: set.total, ...a, ...b };
      const answer = await ctx.run("effect", () => effect(body));
      return await ctx.run("done", () => ({ id: set.id, status: "done", answer }));
    },
  },
});

restate.serve({ services: [flow], port: Number(process.env.PORT) });
