//! Reports of cases as JUnit XML, as CI systems read it.
//!
//! Invariant: whatever a case is called, the file is well-formed: characters that XML has no place for are left out.

use super::trial::Tried;

/// The whole report.
#[must_use]
pub fn xml(tried: &[Tried]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for it in tried {
        let cases = &it.tested.cases;
        let wrong = it.tested.flow_findings.len() + it.tested.case_findings.len();
        let errors = usize::from(wrong > 0) + usize::from(it.tested.not_run.is_some());
        let failed = cases.iter().filter(|report| !report.passed).count();
        let took: u64 = cases.iter().map(|report| report.took_us).sum();
        out.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" time=\"{}\">\n",
            text(&it.file),
            cases.len() + errors,
            seconds(took)
        ));
        let class = text(&it.tested.flow);
        for (file, finding) in it
            .tested
            .flow_findings
            .iter()
            .map(|finding| (&it.flow, finding))
            .chain(it.tested.case_findings.iter().map(|finding| (&it.file, finding)))
            .take(1)
        {
            let said = format!("{file}:{}:{}: {}", finding.line, finding.column, finding.message);
            out.push_str(&format!(
                "    <testcase classname=\"{class}\" name=\"the file\"><error message=\"{}\"/></testcase>\n",
                text(&said)
            ));
        }
        for report in cases {
            let head = format!(
                "    <testcase classname=\"{class}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{}\"",
                text(&report.name),
                text(&it.file),
                report.line,
                seconds(report.took_us)
            );
            out.push_str(&head);
            if report.passed {
                out.push_str("/>\n");
                continue;
            }
            let first = report.problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
            let mut body = String::new();
            for problem in &report.problems {
                body.push_str(&format!("{}:{}:{}: {}\n", it.file, problem.line, problem.column, problem.message));
                problem.lines.iter().for_each(|line| body.push_str(&format!("  {line}\n")));
            }
            out.push_str(&format!(
                ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                text(first),
                text(&body)
            ));
        }
        if let Some(name) = &it.tested.not_run {
            out.push_str(&format!(
                "    <testcase classname=\"{class}\" name=\"{}\"><error message=\"not run: time was up\"/></testcase>\n",
                text(name)
            ));
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Microseconds as seconds.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// A text inside of an attribute or an element.
fn text(content: &str) -> String {
    let mut out = String::with_capacity(content.len());
    for c in content.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use aura_protocol::rpc::{CaseProblem, CaseReport, FlowTested};

    use super::*;

    #[test]
    fn the_report_is_well_formed_whatever_it_says() {
        let problem =
            CaseProblem { line: 3, column: 5, message: "a < b & \"c\"\u{7}".into(), lines: vec!["- <x>".into()] };
        let cases = vec![
            CaseReport { name: "good".into(), passed: true, took_us: 1_500, line: 2, ..CaseReport::default() },
            CaseReport { name: "<bad>".into(), problems: vec![problem], ..CaseReport::default() },
        ];
        let tested = FlowTested { flow: "f".into(), cases, not_run: Some("late".into()), ..FlowTested::default() };
        let xml = xml(&[Tried { file: "f.test.yaml".into(), flow: "f.yaml".into(), tested }]);
        let wanted = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="f.test.yaml" tests="3" failures="1" errors="1" time="0.001500">
    <testcase classname="f" name="good" file="f.test.yaml" line="2" time="0.001500"/>
    <testcase classname="f" name="&lt;bad&gt;" file="f.test.yaml" line="0" time="0.000000">
      <failure message="a &lt; b &amp; &quot;c&quot;">f.test.yaml:3:5: a &lt; b &amp; &quot;c&quot;
  - &lt;x&gt;
</failure>
    </testcase>
    <testcase classname="f" name="late"><error message="not run: time was up"/></testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(xml, wanted);
    }
}
