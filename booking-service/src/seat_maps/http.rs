//! A seat map on the wire: `ETag`, `If-None-Match`, `Accept-Encoding`.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use shared::problem::Problem;

use super::picture::{Picture, ZIPPED};

/// Smaller answers are not worth zipping.
const WORTH_ZIPPING: usize = 1024;
/// Larger ones are zipped where they do not hold up other requests.
const LONG_WORK: usize = 256 * 1024;

/// A map to whoever sent these headers: whole, zipped, or 304 when they have it.
pub async fn answer(headers: &HeaderMap, picture: Arc<Picture>) -> Result<Response, Problem> {
    if let Some(answer) = answer_at_once(headers, &picture) {
        return Ok(answer);
    }
    let zipped = if picture.body().len() < LONG_WORK {
        picture.zipped()
    } else {
        let picture = picture.clone();
        tokio::task::spawn_blocking(move || picture.zipped()).await.map_err(Problem::internal)?
    };
    Ok(whole(&picture, Some(zipped)))
}

/// As [`answer`], unless it must be zipped first.
pub fn answer_at_once(headers: &HeaderMap, picture: &Picture) -> Option<Response> {
    let zips = takes_gzip(headers) && picture.body().len() >= WORTH_ZIPPING;
    if has_already(headers, picture.tag()) {
        return Some((StatusCode::NOT_MODIFIED, tags(picture, zips)).into_response());
    }
    if zips { Some(whole(picture, Some(picture.zipped_before()?))) } else { Some(whole(picture, None)) }
}

fn whole(picture: &Picture, zipped: Option<Bytes>) -> Response {
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let gzip = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    match zipped {
        Some(zipped) => (tags(picture, true), [json, gzip], zipped).into_response(),
        None => (tags(picture, false), [json], picture.body()).into_response(),
    }
}

fn tags(picture: &Picture, zipped: bool) -> [(header::HeaderName, HeaderValue); 3] {
    // A digest in base64 is fit for a header.
    let etag = HeaderValue::from_maybe_shared(picture.etag(zipped)).unwrap_or(HeaderValue::from_static(""));
    [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ]
}

/// Whether `Accept-Encoding` names gzip, or everything, and not with a weight of 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let weight = |wanted: &str| {
        listed(headers, header::ACCEPT_ENCODING).find_map(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(wanted);
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
            named.then_some(weight.unwrap_or(1.0))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

/// Whether `If-None-Match` names the version, zipped or not; compared weakly, as RFC 9110 says.
fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    listed(headers, header::IF_NONE_MATCH).any(|given| {
        let given = given.strip_prefix("W/").unwrap_or(given);
        let text = given.strip_prefix('"').and_then(|given| given.strip_suffix('"'));
        given == "*" || text.is_some_and(|text| text.strip_suffix(ZIPPED).unwrap_or(text) == tag)
    })
}

fn listed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_tag_is_found_in_lists_weak_and_zipped() {
        let has = |value: &str| has_already(&headers(header::IF_NONE_MATCH, value), "t");
        for known in ["\"t\"", "\"t.gz\"", "\"x\", W/\"t\"", "*", "\"x\",\"t\""] {
            assert!(has(known), "{known}");
        }
        for other in ["\"x\"", "t", "\"tt\"", "\"\"", "\"t.gz.gz\""] {
            assert!(!has(other), "{other}");
        }
        assert!(!has_already(&HeaderMap::new(), "t"));
    }

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        let takes = |value: &str| takes_gzip(&headers(header::ACCEPT_ENCODING, value));
        for yes in ["gzip", "br, GZIP;q=0.5", "*", "gzip;q=1, *;q=0", "deflate, *;q=0.1"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; q=0.0, *", "identity", "*;q=0"] {
            assert!(!takes(no), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
