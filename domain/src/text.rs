//! Characters that a text may be made of.

/// Ranges of characters that show nothing, in addition to control characters: white space, joiners, marks of
/// direction, selectors, and the blanks of Hangul and Braille.
pub const INVISIBLE: [(char, char); 18] = [
    ('\u{20}', '\u{20}'),
    ('\u{a0}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
];

/// True if the character shows something.
#[must_use]
pub fn is_visible(c: char) -> bool {
    !c.is_whitespace()
        && !c.is_control()
        && !INVISIBLE.iter().any(|&(first, last)| (first..=last).contains(&c))
}

/// True if the character may be part of a line: neither a control character nor a separator of lines.
#[must_use]
pub fn fits_a_line(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')
}
