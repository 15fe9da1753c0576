//! A route from a path alone: what names an object becomes a wildcard.

use super::words::is_word;

/// Segments that are looked at, as many as OBI looks at; `**` stands for those that follow.
pub(super) const MAX_SEGMENTS: usize = 10;

/// Appends the route of `path`. Costs as much as ten short segments at most, however long the path is.
pub(super) fn append(out: &mut String, path: &str, wildcard: &str) {
    let rooted = path.strip_prefix('/');
    if rooted.is_some() {
        out.push('/');
    }
    for (n, segment) in rooted.unwrap_or(path).splitn(MAX_SEGMENTS + 1, '/').enumerate() {
        if n > 0 {
            out.push('/');
        }
        out.push_str(match n {
            MAX_SEGMENTS => "**",
            _ if segment.is_empty() || is_word(segment) => segment,
            _ => wildcard,
        });
    }
}
