//! A first look at a document's text, before the recursive parser sees it.

use super::Limits;
use crate::failure::Failure;

/// Refuses a text with too many tokens or brackets within brackets, which would overflow the parser's stack. Reads strings
/// and comments as the grammar does, so that nothing can hide in one.
pub(super) fn scan(text: &str, limits: &Limits) -> Result<(), Failure> {
    if text.len() > limits.document_bytes {
        return Err(Failure::too_costly(format!(
            "the document has {} bytes, at most {} are allowed",
            text.len(),
            limits.document_bytes
        )));
    }
    let bytes = text.as_bytes();
    let (mut at, mut tokens, mut nesting) = (0, 0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b' ' | b',' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'#' => {
                at = end_of(bytes, at, |byte| !matches!(byte, b'\n' | b'\r'));
                continue;
            }
            b'"' => end_of_string(bytes, at)
                .ok_or_else(|| Failure::bad_document("syntax error: unterminated string"))?,
            b'{' | b'[' | b'(' => {
                nesting += 1;
                at + 1
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                at + 1
            }
            byte if is_name(byte) => end_of(bytes, at, is_name),
            _ => at + 1,
        };
        tokens += 1;
        if nesting > limits.nesting {
            return Err(Failure::too_costly(format!(
                "the document is nested too deeply, at most {} brackets may be open",
                limits.nesting
            )));
        }
        if tokens > limits.tokens {
            return Err(Failure::too_costly(format!(
                "the document is too long, at most {} tokens are allowed",
                limits.tokens
            )));
        }
    }
    Ok(())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn end_of(bytes: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[start..].iter().position(|&byte| !belongs(byte)).map_or(bytes.len(), |length| start + length)
}

/// Behind the closing quotes of the string that opens at `start`; None when there are none.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes[start..].starts_with(br#"""""#) {
        let mut at = start + 3;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if rest.starts_with(br#"\""""#) {
                at += 4;
            } else if rest.starts_with(br#"""""#) {
                return Some(at + 3);
            } else {
                at += 1;
            }
        }
        return None;
    }
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\n' | b'\r' => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::failure::ErrorCode;

    fn code(text: &str) -> Option<ErrorCode> {
        scan(text, &Limits::default()).err().map(|failure| failure.code)
    }

    #[test]
    fn deep_nesting_is_refused_before_parsing() {
        for open in ["{a", "{a(b:{", "[", "query($a:[", "{a(b:\"\"{", "{a(b:\"\"\"\\\"\"\"\"\"\"{"] {
            assert_eq!(code(&open.repeat(3_000)), Some(ErrorCode::TooCostly), "{open}");
        }
        assert_eq!(code(&"a ".repeat(30_000)), Some(ErrorCode::TooCostly));
        assert_eq!(code(&" ".repeat(70_000)), Some(ErrorCode::TooCostly));
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let brackets = "{".repeat(1_000);
        assert_eq!(code(&format!("{{a(b:\"{brackets}\\\"\")}}")), None);
        assert_eq!(code(&format!("{{a(b:\"\"\"{brackets}\n\\\"\"\"\"\"\")}}")), None);
        assert_eq!(code(&format!("#{brackets}\n{{a}}")), None);
        assert_eq!(code(&format!("#\r{brackets}")), Some(ErrorCode::TooCostly));
        assert_eq!(code("{a(b:\"c)}"), Some(ErrorCode::BadRequest));
        assert_eq!(code("{a(b:\"c\n\")}"), Some(ErrorCode::BadRequest));
        assert_eq!(code("{a(b:\"\"\"c\"\")}"), Some(ErrorCode::BadRequest));
        assert_eq!(code("{a(b:\"\\"), Some(ErrorCode::BadRequest));
    }
}
