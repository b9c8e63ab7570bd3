//! A token for Google Cloud that the key of a service account signs by itself, as AIP-4111 describes it.
//!
//! It names a scope and therefore no audience. It lives an hour, and it is kept, because to sign one costs about a
//! millisecond; it is found again by what the key file holds, so a rotated key is in force at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::secret::{Secret, SecretError};

/// All of Google Cloud; what the account may do there is for its roles to say.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long a token is good for: the longest time that Google accepts.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a token is used for new calls: until five minutes before its end.
const USED: Duration = Duration::from_secs(55 * 60);
/// How far a token is dated back, so that a clock of Google's that is behind ours takes it all the same.
const SKEW: Duration = Duration::from_secs(10);

/// Tokens by the hash of the key file that signed them.
///
/// The lock is held to look at the map and to put something into it, never while anything is signed.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<[u8; 32], Token>>);

struct Token {
    bearer: HeaderValue,
    issued: SystemTime,
}

impl Token {
    fn is_good(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.issued);
        // A clock that was set back has made it a token of the future, which Google refuses.
        age.is_ok_and(|age| age < USED)
    }
}

/// A service account's key, as Google hands it out.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    scope: &'static str,
    iat: u64,
    exp: u64,
}

impl Tokens {
    /// Returns the header value for a key, from what is kept if it is still good.
    pub(super) fn bearer(&self, key: &Secret, now: SystemTime) -> Result<HeaderValue, SecretError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.bytes()).as_ref());
        if let Some(token) = self.kept().get(&hash).filter(|token| token.is_good(now)) {
            return Ok(token.bearer.clone());
        }
        let bearer = signed(key, now)?;
        let mut kept = self.kept();
        // What is left of rotated keys goes, so that the map stays as small as the policy.
        kept.retain(|_, token| token.is_good(now));
        kept.insert(hash, Token { bearer: bearer.clone(), issued: now });
        Ok(bearer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Token>> {
        // Every state of the map is a whole one, whoever panicked while it was held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed(key: &Secret, now: SystemTime) -> Result<HeaderValue, SecretError> {
    // The reader's own words are left out: they repeat parts of the text.
    let not_json = |_| key.unusable("not a service account's key in JSON");
    let file: KeyFile = serde_json::from_slice(key.bytes()).map_err(not_json)?;
    let not_rsa = || key.unusable("a service account's key without an RSA private key in PKCS #8");
    let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes()).map_err(|_| not_rsa())?;
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| not_rsa())?;

    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let issued = since.saturating_sub(SKEW).as_secs();
    let header = Header { alg: "RS256", typ: "JWT", kid: file.private_key_id.as_deref() };
    let (iss, sub) = (file.client_email.as_str(), file.client_email.as_str());
    let claims = Claims { iss, sub, scope: SCOPE, iat: issued, exp: issued + LIFETIME.as_secs() };
    let message = format!("{}.{}", encoded(&header), encoded(&claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .map_err(|_| not_rsa())?;

    let bearer = format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature));
    let mut bearer = HeaderValue::try_from(bearer).expect("base64 and dots are printable");
    bearer.set_sensitive(true);
    Ok(bearer)
}

fn encoded(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("text and numbers always serialise"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use policy::SecretRef;
    use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = include_str!("../../tests/keys/service-account.json");

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    async fn secret(content: &str) -> Secret {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.json"), content).unwrap();
        Secret::read(&SecretRef::File("key.json".into()), folder.path()).await.ok().unwrap()
    }

    fn token(bearer: &HeaderValue) -> &str {
        bearer.to_str().unwrap().strip_prefix("Bearer ").unwrap()
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_token_says_what_google_asks_for_and_is_signed_by_the_key() {
        let bearer = Tokens::default().bearer(&secret(KEY).await, at(1_700_000_010)).unwrap();
        let token = token(&bearer);
        assert_eq!(part(token, 0), json!({ "alg": "RS256", "typ": "JWT", "kid": "0123abcd" }));
        let account = "gateway@test.iam.gserviceaccount.com";
        let claims = json!({
            "iss": account,
            "sub": account,
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "iat": 1_700_000_000,
            "exp": 1_700_003_600,
        });
        assert_eq!(part(token, 1), claims);

        let file: KeyFile = serde_json::from_str(KEY).unwrap();
        let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes()).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
        public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_token_is_kept_until_five_minutes_before_its_end() {
        let (tokens, key) = (Tokens::default(), secret(KEY).await);
        let first = tokens.bearer(&key, at(10_000)).unwrap();
        assert_eq!(tokens.bearer(&key, at(10_000 + 3299)).unwrap(), first);
        let second = tokens.bearer(&key, at(10_000 + 3300)).unwrap();
        assert_ne!(second, first);
        assert_eq!(part(token(&second), 1)["iat"], 10_000 + 3290);
        assert_eq!(tokens.kept().len(), 1, "the old one is gone");
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_gets_a_token_of_its_own_time() {
        let (tokens, key) = (Tokens::default(), secret(KEY).await);
        tokens.bearer(&key, at(100_000)).unwrap();
        assert_eq!(part(token(&tokens.bearer(&key, at(50_000)).unwrap()), 1)["iat"], 49_990);
    }

    #[tokio::test]
    async fn a_rotated_key_is_in_force_at_once() {
        let tokens = Tokens::default();
        let rotated = KEY.replace("0123abcd", "4567abcd");
        let first = tokens.bearer(&secret(KEY).await, at(10_000)).unwrap();
        let second = tokens.bearer(&secret(&rotated).await, at(10_001)).unwrap();
        assert_eq!(part(token(&first), 0)["kid"], "0123abcd");
        assert_eq!(part(token(&second), 0)["kid"], "4567abcd");
        assert_eq!(tokens.bearer(&secret(KEY).await, at(10_002)).unwrap(), first);
    }

    #[tokio::test]
    async fn a_token_shows_in_no_debug_text() {
        let bearer = Tokens::default().bearer(&secret(KEY).await, at(0)).unwrap();
        assert!(bearer.is_sensitive() && !format!("{bearer:?}").contains("ey"), "{bearer:?}");
    }

    #[tokio::test]
    async fn an_unusable_key_is_named_by_its_place_alone() {
        let json = "not a service account's key in JSON";
        let rsa = "a service account's key without an RSA private key in PKCS #8";
        let with = |key: &str| json!({ "client_email": "canary@x", "private_key": key }).to_string();
        let pem = with("-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n");
        for (content, problem) in [
            ("canary", json),
            ("{\"client_email\": \"canary\"}", json),
            ("{\"client_email\": \"a\", \"private_key\": {\"canary\": 1}}", json),
            (with("canary").as_str(), rsa),
            (pem.as_str(), rsa),
        ] {
            let error = Tokens::default().bearer(&secret(content).await, at(0)).unwrap_err();
            assert_eq!(error.to_string(), format!("the secret in the file key.json is {problem}"));
            assert!(!format!("{error:?}").to_lowercase().contains("canary"), "{error:?}");
            assert!(std::error::Error::source(&error).is_none());
        }
        let missing = Secret::read(&SecretRef::File("none".into()), Path::new("/nonexistent")).await;
        assert!(missing.is_err());
    }
}
