//! API keys: what a caller holds, and what the policy file knows of it.
//!
//! ```text
//! pck_<id>_<secret>_<check>        pck_ci-7f3a_5xK…9Qa_0fZ3bT
//! ```
//!
//! The prefix lets scanners for secrets find a key, the id finds its line in the policy, the secret is 256 bits of
//! entropy in 43 digits of base 62, and the check is a CRC-32 of all before it in 6: a key that was cut or mistyped
//! is told apart from an unknown one without a look at the policy. The file holds the SHA-256 of the whole key. With
//! that much entropy a slow hash would protect nothing and cost every request.

use std::fmt;

use crate::digest::Digest;
use crate::moment::Moment;
use crate::name::{CallerName, KeyId};

/// What every key begins with.
pub const KEY_PREFIX: &str = "pck_";

/// Digits of base 62, in the order of ASCII.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of the secret: the fewest that hold 256 bits.
const SECRET_DIGITS: usize = 43;

/// Digits of the check: the fewest that hold 32 bits.
const CHECK_DIGITS: usize = 6;

/// A new API key. It is shown once and kept nowhere.
pub struct ApiKey {
    id: KeyId,
    text: String,
}

impl ApiKey {
    /// Makes a key from `entropy`, which must come from the operating system's generator.
    pub fn from_entropy(id: KeyId, entropy: [u8; 32]) -> Self {
        let body = format!("{KEY_PREFIX}{id}_{}", base62::<SECRET_DIGITS>(&entropy));
        let text = format!("{body}_{}", check(&body));
        debug_assert!(Shown::parse(&text).is_some_and(|shown| shown.id() == id.as_str()));
        Self { id, text }
    }

    /// Returns the key itself, for the caller and for nobody else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the hash that the policy file knows the key by.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// Returns the item for `callers` in the policy file.
    pub fn caller_line(&self) -> String {
        self.caller_line_for(None, None)
    }

    /// Returns the item for `callers` of a key that is one of a caller's two, or ends at some moment.
    pub fn caller_line_for(&self, caller: Option<&CallerName>, expires: Option<Moment>) -> String {
        let caller = caller.map(|caller| format!("caller: {caller}, ")).unwrap_or_default();
        let expires = expires.map(|expires| {
            let is_date = expires == expires.next_day_start();
            format!(", expires: {}", if is_date { expires.date() } else { expires.to_string() })
        });
        let (id, sha256, expires) = (&self.id, self.sha256(), expires.unwrap_or_default());
        format!("- {{ api_key: {{ id: {id}, {caller}sha256: \"{sha256}\"{expires} }} }}")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key that somebody shows: whole, and perhaps unknown.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'t> {
    id: &'t str,
    text: &'t str,
}

impl<'t> Shown<'t> {
    /// Takes a key apart; returns `None` if it is not one, or was cut or mistyped.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let (body, written) = text.rsplit_once('_')?;
        let (id, secret) = body.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        let is_whole = KeyId::new(id).is_ok()
            && secret.len() == SECRET_DIGITS
            && secret.bytes().all(|digit| digit.is_ascii_alphanumeric())
            && written == check(body);
        is_whole.then_some(Self { id, text })
    }

    /// Returns the id that the key claims.
    pub(crate) fn id(&self) -> &'t str {
        self.id
    }

    pub(crate) fn sha256(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

fn check(body: &str) -> String {
    base62::<CHECK_DIGITS>(&crc32fast::hash(body.as_bytes()).to_be_bytes())
}

/// Writes a big-endian number in base 62, with leading zeros; `N` digits must be enough for it.
fn base62<const N: usize>(number: &[u8]) -> String {
    let mut number = number.to_vec();
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        // One long division by 62; what is left over is the digit.
        let rest = number.iter_mut().fold(0_u32, |rest, byte| {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            value % 62
        });
        *digit = DIGITS[rest as usize];
    }
    debug_assert!(number.iter().all(|&byte| byte == 0), "the digits hold the whole number");
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, byte: u8) -> ApiKey {
        ApiKey::from_entropy(KeyId::new(id).unwrap(), [byte; 32])
    }

    #[test]
    fn a_key_shows_its_id_and_hides_its_secret() {
        let key = key("ci-7f3a", 0xab);
        let secret = key.expose().split('_').nth(2).unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey { id: KeyId(\"ci-7f3a\"), .. }");
        assert!(!key.caller_line().contains(secret));
        assert_eq!(Shown::parse(key.expose()).unwrap().id(), "ci-7f3a");
    }

    #[test]
    fn numbers_in_base_62_are_those_of_arithmetic() {
        // Computed with integers of any size: the largest of 256 bits, and some of 32.
        assert_eq!(base62::<43>(&[0xff; 32]), "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
        assert_eq!(base62::<6>(&[0xff; 4]), "4gfFC3");
        assert_eq!(base62::<6>(&[0; 4]), "000000");
        assert_eq!(base62::<6>(&61_u32.to_be_bytes()), "00000z");
        assert_eq!(base62::<6>(&62_u32.to_be_bytes()), "000010");
    }

    #[test]
    fn a_key_that_was_cut_or_mistyped_is_none() {
        let key = key("ci", 7);
        let whole = key.expose();
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                assert_eq!(Shown::parse(&whole[start..end]).is_some(), end - start == whole.len());
            }
        }
        for index in 0..whole.len() {
            for other in (b' '..=b'~').filter(|other| *other != whole.as_bytes()[index]) {
                let mut bytes = whole.as_bytes().to_vec();
                bytes[index] = other;
                let text = String::from_utf8(bytes).unwrap();
                assert!(Shown::parse(&text).is_none(), "{text}");
            }
            let doubled = format!("{}{}", &whole[..=index], &whole[index..]);
            assert!(Shown::parse(&doubled).is_none(), "{doubled}");
        }
        for (a, b) in (0..whole.len()).zip(1..whole.len()) {
            let mut bytes = whole.as_bytes().to_vec();
            bytes.swap(a, b);
            let text = String::from_utf8(bytes).unwrap();
            assert!(text == whole || Shown::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_line_for_the_policy_says_what_it_must() {
        let (key, caller) = (key("ci-2", 7), CallerName::new("ci").unwrap());
        let lines = [
            key.caller_line(),
            key.caller_line_for(None, Moment::parse("2027-01-31")),
            key.caller_line_for(Some(&caller), Moment::parse("2027-01-31T06:00:00Z")),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }
}
