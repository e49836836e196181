// Judges pages of a running daemon by axe-core in Chromium, with light and dark colours, narrow and wide: the form as
// it comes, with mistakes, and the thanks. It fills the form in as a person does, by labels. Use: node axe.mjs URL
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import chromium from '@sparticuz/chromium';
import puppeteer from 'puppeteer-core';

const url = process.argv[2];
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await puppeteer.launch({
  args: chromium.args,
  executablePath: process.env.CHROMIUM || (await chromium.executablePath()),
  headless: 'shell',
});
let violations = 0;
let judged = 0;

async function judge(page, name) {
  // The page allows no script at all; axe comes in through the debugger, beside the page's own rules.
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  judged += found.passes.length;
  violations += found.violations.length;
  console.log(`${name}: ${found.passes.length} rules passed, ${found.violations.length} broken, ${found.incomplete.length} undecided`);
  for (const rule of found.violations.concat(found.incomplete)) {
    console.log(`  ${rule.id} (${rule.impact}): ${rule.help}`);
    for (const node of rule.nodes) console.log(`    ${node.html.slice(0, 200)} ${node.failureSummary ?? ''}`);
  }
}

for (const colours of ['light', 'dark']) {
  for (const width of [320, 1280]) {
    const page = await browser.newPage();
    const said = [];
    page.on('console', (message) => said.push(message.text()));
    await page.setJavaScriptEnabled(false);
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: colours }]);
    const name = `${colours} ${width}`;
    await page.goto(url);
    await page.setJavaScriptEnabled(true);
    await page.setBypassCSP(true);
    await page.goto(url);
    await judge(page, `${name}, empty`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    if (wide) {
      console.log(`${name}: the page is wider than its window`);
      violations += 1;
    }
    await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
    await judge(page, `${name}, with mistakes`);
    const wrong = await page.$$('[aria-invalid=true]');
    if (wrong.length === 0) throw new Error('an empty form was taken');
    await page.setJavaScriptEnabled(false);
    await page.type('#f-email', 'jo@example.com');
    await page.type('#f-qty', '2');
    await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
    await page.setJavaScriptEnabled(true);
    if (!page.url().endsWith('/thanks')) throw new Error(`no thanks at ${page.url()}`);
    await page.reload();
    await judge(page, `${name}, thanks`);
    await page.close();
  }
}
await browser.close();
console.log(`axe-core: ${judged} rules passed, ${violations} broken`);
process.exit(violations === 0 && judged > 0 ? 0 : 1);
