//! What hOCR and ALTO share.

use svtrv2::{Quad, Rect};

/// Text for elements and quoted attributes. Characters that XML does not know become U+FFFD.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A rectangle's edges in whole pixels of a page of this size.
pub(super) fn pixels(bounds: Rect, width: u32, height: u32) -> [u32; 4] {
    let at = |value: f32, most: u32| (value.max(0.0) as u32).min(most);
    [
        at(bounds.x0.floor(), width),
        at(bounds.y0.floor(), height),
        at(bounds.x1.ceil(), width),
        at(bounds.y1.ceil(), height),
    ]
}

/// The direction of a line in degrees, clockwise, -180 to 180.
pub(super) fn direction(Quad([a, b, c, d]): Quad) -> f32 {
    (b.y - a.y + c.y - d.y).atan2(b.x - a.x + c.x - d.x).to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(
            escaped("a<b> & \"c\" 'd'\u{1}\t"),
            "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;\u{fffd} "
        );
    }

    #[test]
    fn boxes_lie_in_the_page() {
        assert_eq!(pixels(Rect::new(-3.2, 1.5, 9.2, 99.0), 10, 20), [0, 1, 10, 20]);
        assert_eq!(pixels(Rect::new(f32::NAN, 0.0, 1.0, 1.0), 10, 20), [0, 0, 1, 1]);
    }
}
