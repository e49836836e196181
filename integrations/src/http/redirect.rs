//! Redirects, one hop at a time: where to, what goes along, and what is left behind.
//!
//! The invariant: nothing that could prove who we are goes to another origin, and nothing goes from https to http.

use url::Url;

use super::{HttpRequest, HttpResponse};

/// Most hops of one request.
pub(super) const HOPS_MAX: u8 = 5;

/// Headers that may go to another origin: they say what is wanted, not who asks.
const IMPERSONAL: &[&str] = &["accept", "accept-language", "content-language", "user-agent"];

/// Whether a request may be sent again without asking anybody.
pub(super) fn repeatable(method: &str) -> bool {
    method.eq_ignore_ascii_case("GET") || method.eq_ignore_ascii_case("HEAD")
}

/// The request that an answer leads to; `None`: the answer is no redirect.
pub(super) fn next(request: &HttpRequest, response: &HttpResponse) -> Option<Result<HttpRequest, String>> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let mut places = response.headers.iter().filter(|(name, _)| name == "location");
    let (_, place) = places.next()?;
    if places.next().is_some() {
        return Some(Err("it names two places".to_owned()));
    }
    Some(follow(request, place))
}

fn follow(request: &HttpRequest, place: &str) -> Result<HttpRequest, String> {
    let wrong = |_| "it names no address".to_owned();
    let from = Url::parse(&request.url).map_err(wrong)?;
    let mut to = from.join(place).map_err(wrong)?;
    to.set_fragment(None);
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err("from https to something else".to_owned());
    }
    let mut next = HttpRequest { url: to.to_string(), body: Vec::new(), ..request.clone() };
    let same = from.origin() == to.origin();
    next.headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        // The body stays behind, and with it what describes it.
        !name.starts_with("content-") && (same || IMPERSONAL.contains(&name.as_str()))
    });
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_takes_along_only_what_says_nothing_of_us() {
        let check = |from: &str, place: &str, expected: Result<(&str, usize), &str>| {
            let headers =
                ["authorization", "Cookie", "x-api-key", "X-Shopify-Access-Token", "idempotency-key", "accept"];
            let request = HttpRequest {
                method: "GET".to_owned(),
                url: from.to_owned(),
                headers: headers.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect(),
                ..HttpRequest::default()
            };
            let headers = vec![("location".to_owned(), place.to_owned())];
            let response = HttpResponse { status: 302, headers, ..HttpResponse::default() };
            let next = next(&request, &response).unwrap();
            let got = next.as_ref().map(|next| (next.url.as_str(), next.headers.len())).map_err(String::as_str);
            assert_eq!(got, expected, "{from} -> {place}");
        };
        check("https://a.example/x?y", "/z#f", Ok(("https://a.example/z", 6)));
        check("https://a.example/x", "z", Ok(("https://a.example/z", 6)));
        check("https://a.example/x", "//b.example/z", Ok(("https://b.example/z", 1)));
        check("https://a.example/x", "https://a.example:444/z", Ok(("https://a.example:444/z", 1)));
        check("http://a.example/x", "https://a.example/x", Ok(("https://a.example/x", 1)));
        check("https://a.example/x", "http://a.example/x", Err("from https to something else"));
        check("https://a.example/x", "http://[", Err("it names no address"));
        for status in [200, 300, 304, 305, 404] {
            let response =
                HttpResponse { status, headers: vec![("location".into(), "/".into())], ..HttpResponse::default() };
            assert!(next(&HttpRequest::default(), &response).is_none(), "{status}");
        }
    }
}
