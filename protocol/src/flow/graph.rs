//! Steps of one scope and what they wait for, as a graph: circles, needs that say nothing new, ways through it.
//!
//! Steps are positions, an edge goes from the step that is needed to the one that needs it. Pure and linear in
//! edges where nothing else is said; every answer is in the order of positions, so it never jumps.

use std::collections::VecDeque;

/// A graph of so many steps.
#[derive(Clone, Debug)]
pub struct Graph {
    /// For each step what it needs, in written order.
    needs: Vec<Vec<usize>>,
    /// For each step who needs it.
    needed_by: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph in which step `n` needs `needs[n]`; needs beyond the steps are left out.
    #[must_use]
    pub fn new(needs: Vec<Vec<usize>>) -> Self {
        let count = needs.len();
        let mut needed_by = vec![Vec::new(); count];
        let needs: Vec<Vec<usize>> =
            needs.into_iter().map(|needs| needs.into_iter().filter(|need| *need < count).collect()).collect();
        for (step, needs) in needs.iter().enumerate() {
            for need in needs {
                if let Some(list) = needed_by.get_mut(*need) {
                    list.push(step);
                }
            }
        }
        Self { needs, needed_by }
    }

    fn needs_of(&self, step: usize) -> &[usize] {
        self.needs.get(step).map_or(&[], Vec::as_slice)
    }

    fn needers_of(&self, step: usize) -> &[usize] {
        self.needed_by.get(step).map_or(&[], Vec::as_slice)
    }

    /// The steps so that each stands behind what it needs; those in or behind a circle are left out.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut ready: VecDeque<usize> =
            waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(step, _)| step).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(step) = ready.pop_front() {
            order.push(step);
            for next in self.needers_of(step) {
                if let Some(left) = waiting.get_mut(*next) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push_back(*next);
                    }
                }
            }
        }
        order
    }

    /// One circle if there is any: each step is needed by the one behind it, the last by the first.
    #[must_use]
    pub fn circle(&self) -> Option<Vec<usize>> {
        let order = self.order();
        let mut left = vec![true; self.needs.len()];
        for step in order {
            if let Some(left) = left.get_mut(step) {
                *left = false;
            }
        }
        let is_left = |step: usize| left.get(step) == Some(&true);
        // Whoever is left needs somebody who is left: walking along needs must come back.
        let mut way = vec![left.iter().position(|left| *left)?];
        let mut place: Vec<Option<usize>> = vec![None; self.needs.len()];
        while let Some(&at) = way.last() {
            if let Some(slot) = place.get_mut(at) {
                *slot = Some(way.len() - 1);
            }
            let next = self.needs_of(at).iter().copied().find(|need| is_left(*need))?;
            if let Some(seen) = place.get(next).copied().flatten() {
                let mut circle = way.split_off(seen);
                circle.reverse();
                return Some(circle);
            }
            way.push(next);
        }
        None
    }

    /// The steps in layers: each stands in the first one behind all that it needs.
    #[must_use]
    pub fn layers(&self) -> Vec<Vec<usize>> {
        let mut depth = vec![0_usize; self.needs.len()];
        let mut layers: Vec<Vec<usize>> = Vec::new();
        for step in self.order() {
            let own = self.needs_of(step).iter().filter_map(|need| depth.get(*need)).map(|depth| depth + 1).max();
            let own = own.unwrap_or(0);
            if let Some(slot) = depth.get_mut(step) {
                *slot = own;
            }
            if layers.len() <= own {
                layers.resize(own + 1, Vec::new());
            }
            if let Some(layer) = layers.get_mut(own) {
                layer.push(step);
            }
        }
        layers.iter_mut().for_each(|layer| layer.sort_unstable());
        layers
    }

    /// The steps that no way leads to from one of them.
    #[must_use]
    pub fn unreachable(&self, from: usize) -> Vec<usize> {
        let mut seen = vec![false; self.needs.len()];
        let mut ways = vec![from];
        while let Some(step) = ways.pop() {
            if let Some(seen) = seen.get_mut(step).filter(|seen| !**seen) {
                *seen = true;
                ways.extend_from_slice(self.needers_of(step));
            }
        }
        seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(step, _)| step).collect()
    }

    /// Needs that another need of the same step brings anyway, as (needed, step). Looks at `most` steps at most,
    /// then tells what it found.
    #[must_use]
    pub fn redundant(&self, most: usize) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut left = most;
        for (step, needs) in self.needs.iter().enumerate().filter(|(_, needs)| needs.len() > 1) {
            // All that is needed by what it needs.
            let mut seen = vec![false; self.needs.len()];
            let mut ways: Vec<usize> = needs.iter().flat_map(|need| self.needs_of(*need)).copied().collect();
            while let Some(at) = ways.pop() {
                let Some(rest) = left.checked_sub(1) else { return found };
                left = rest;
                if let Some(seen) = seen.get_mut(at).filter(|seen| !**seen) {
                    *seen = true;
                    ways.extend_from_slice(self.needs_of(at));
                }
            }
            found.extend(needs.iter().filter(|need| seen.get(**need) == Some(&true)).map(|need| (*need, step)));
        }
        found
    }

    /// The way that takes longest and how long it takes, where each step takes its time; none for a circle.
    #[must_use]
    pub fn critical_path(&self, times: &[u64]) -> Option<(Vec<usize>, u64)> {
        let order = self.order();
        if order.len() < self.needs.len() {
            return None;
        }
        let mut ends: Vec<(u64, Option<usize>)> = vec![(0, None); self.needs.len()];
        for step in order {
            let mut before: (u64, Option<usize>) = (0, None);
            for need in self.needs_of(step) {
                let end = ends.get(*need).map_or(0, |(end, _)| *end);
                if before.1.is_none() || end > before.0 {
                    before = (end, Some(*need));
                }
            }
            if let Some(slot) = ends.get_mut(step) {
                *slot = (before.0.saturating_add(times.get(step).copied().unwrap_or(0)), before.1);
            }
        }
        let mut last: Option<(usize, u64)> = None;
        for (step, (end, _)) in ends.iter().enumerate() {
            if last.is_none_or(|(_, longest)| *end > longest) {
                last = Some((step, *end));
            }
        }
        let (step, longest) = last?;
        let mut way = vec![step];
        let mut at = step;
        while let Some((_, Some(before))) = ends.get(at) {
            way.push(*before);
            at = *before;
        }
        way.reverse();
        Some((way, longest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Value;

    fn cases() -> Value {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reference-cases.json"));
        Value::from_json(text.as_bytes()).unwrap()
    }

    fn names(value: &Value) -> Vec<String> {
        value.as_list().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The graph of a case and the names of its steps.
    fn graph(case: &Value) -> (Graph, Vec<String>) {
        let input = case.get("input").unwrap();
        let steps = names(input.get("steps").unwrap());
        let place = |name: &str| steps.iter().position(|step| step == name).unwrap();
        let mut needs = vec![Vec::new(); steps.len()];
        for edge in input.get("edges").unwrap().as_list().unwrap() {
            let edge = names(edge);
            needs[place(&edge[1])].push(place(&edge[0]));
        }
        (Graph::new(needs), steps)
    }

    #[test]
    fn the_reference_graph_is_understood() {
        let cases = cases();
        let case = cases.get("41_dag").unwrap();
        let (graph, steps) = graph(case);
        let (input, expected) = (case.get("input").unwrap(), case.get("expected").unwrap());
        let named = |places: &[usize]| -> Vec<String> { places.iter().map(|place| steps[*place].clone()).collect() };
        assert_eq!(graph.circle(), None);
        assert_eq!(expected.get("is_dag"), Some(&Value::Bool(true)));
        // The reference lists a layer in no order of its own.
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let layers: Vec<Vec<String>> = graph.layers().iter().map(|layer| sorted(named(layer))).collect();
        let wanted: Vec<Vec<String>> =
            expected.get("layers").unwrap().as_list().unwrap().iter().map(|layer| sorted(names(layer))).collect();
        assert_eq!(layers, wanted);
        let trigger = steps.iter().position(|step| Some(step.as_str()) == input.get("trigger").unwrap().as_str());
        assert_eq!(named(&graph.unreachable(trigger.unwrap())), names(expected.get("unreachable").unwrap()));
        let redundant: Vec<Vec<String>> = graph.redundant(1000).iter().map(|edge| named(&[edge.0, edge.1])).collect();
        let wanted: Vec<Vec<String>> =
            expected.get("redundant_edges").unwrap().as_list().unwrap().iter().map(names).collect();
        assert_eq!(redundant, wanted);
        let time = |step: &String| input.get("dur").unwrap().get(step).unwrap().as_int().unwrap();
        let times: Vec<u64> = steps.iter().map(|step| u64::try_from(time(step)).unwrap()).collect();
        let (way, longest) = graph.critical_path(&times).unwrap();
        assert_eq!(named(&way), names(expected.get("critical_path").unwrap()));
        assert_eq!(i128::from(longest), expected.get("makespan").unwrap().as_int().unwrap());
    }

    #[test]
    fn the_reference_circle_is_found() {
        let cases = cases();
        let case = cases.get("41_cycle").unwrap();
        let (graph, steps) = graph(case);
        let mut circle = graph.circle().unwrap();
        let wanted = names(case.get("expected").unwrap().get("cycle").unwrap());
        let first = circle.iter().position(|step| steps[*step] == wanted[0]).unwrap();
        circle.rotate_left(first);
        assert_eq!(circle.iter().map(|step| steps[*step].clone()).collect::<Vec<_>>(), wanted);
        assert_eq!(graph.critical_path(&[1; 4]), None);
    }

    proptest! {
        #[test]
        fn a_circle_is_one_and_there_is_none_in_an_order(
            edges in prop::collection::vec((0_usize..9, 0_usize..9), 0..20)
        ) {
            let mut needs = vec![Vec::new(); 9];
            edges.iter().for_each(|(step, need)| needs[*step].push(*need));
            let graph = Graph::new(needs.clone());
            let order = graph.order();
            match graph.circle() {
                None => {
                    prop_assert_eq!(order.len(), 9);
                    let place = |step: usize| order.iter().position(|it| *it == step);
                    for (step, needs) in needs.iter().enumerate() {
                        prop_assert!(needs.iter().all(|need| place(*need) < place(step)));
                    }
                    prop_assert_eq!(graph.layers().concat().len(), 9);
                    // Without what is redundant the same is reached.
                    let mut fewer = needs.clone();
                    for (need, step) in graph.redundant(10_000) {
                        fewer[step].retain(|it| *it != need);
                    }
                    let fewer = Graph::new(fewer);
                    for step in 0..9 {
                        prop_assert_eq!(fewer.unreachable(step), graph.unreachable(step));
                    }
                }
                Some(circle) => {
                    prop_assert!(order.len() < 9);
                    for (at, step) in circle.iter().enumerate() {
                        let next = circle[(at + 1) % circle.len()];
                        prop_assert!(needs[next].contains(step), "{:?}", circle);
                    }
                }
            }
        }
    }
}
