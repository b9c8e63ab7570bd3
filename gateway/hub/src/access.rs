//! Where the hub is, and who asks.

use std::fmt;
use std::path::Path;

use hf_hub::Cache;
use url::{Host, Url};

/// Longest token, in bytes; a file that is longer holds something else.
const TOKEN_BYTES_MAX: usize = 4096;

/// A token of the hub. No output ever holds it.
#[derive(Clone)]
pub struct Token(String);

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is empty, too long, or holds a space or a control character.
    #[error("a token is one word of printable characters, such as hf_…")]
    Shape,
}

/// A hub and the token for it.
#[derive(Debug, Clone)]
pub struct Access {
    pub(crate) endpoint: Url,
    pub(crate) token: Option<Token>,
}

/// Why a hub cannot be used as it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The address is none of a hub.
    #[error("`{0}` is not the address of a hub, such as https://huggingface.co (set by HF_ENDPOINT)")]
    Endpoint(String),
    /// A token would cross the network in clear text.
    #[error("`{0}` is plain HTTP: a token is not sent there; use an https address, or unset HF_TOKEN")]
    ClearText(String),
}

impl Token {
    /// Takes a token as it stands in a file or a variable; space around it does not count.
    ///
    /// # Errors
    /// Returns [`TokenError`] if what is left is not one word.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let word = text.trim();
        let printable = word.bytes().all(|byte| byte.is_ascii_graphic());
        if word.is_empty() || word.len() > TOKEN_BYTES_MAX || !printable {
            return Err(TokenError::Shape);
        }
        Ok(Self(word.to_owned()))
    }

    /// Reads the token that the hub's own tools keep below `home` (`HF_HOME`), if there is one.
    pub fn of_home(home: &Path) -> Option<Self> {
        // Only the place is the library's: the cache that it is named after is not used.
        let token = Cache::new(home.join("hub")).token()?;
        Self::new(&token).ok()
    }

    /// The value of the header.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

impl Access {
    /// Checks the address of a hub, and that the token is safe on the way there.
    ///
    /// # Errors
    /// Returns [`AccessError`] if `endpoint` is no address, or plain HTTP to another machine with a token.
    pub fn new(endpoint: &str, token: Option<Token>) -> Result<Self, AccessError> {
        let wrong = || AccessError::Endpoint(endpoint.to_owned());
        let url = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| wrong())?;
        let is_http = matches!(url.scheme(), "http" | "https");
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !is_http || !is_plain || url.password().is_some() {
            return Err(wrong());
        }
        if token.is_some() && url.scheme() == "http" && !is_this_machine(&url) {
            return Err(AccessError::ClearText(endpoint.to_owned()));
        }
        Ok(Self { endpoint: url, token })
    }

    /// The hub's address, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// The token, if `url` is the hub itself. A store that the hub sends us to has no business with it.
    pub(crate) fn token_for(&self, url: &Url) -> Option<&Token> {
        self.token.as_ref().filter(|_| url.origin() == self.endpoint.origin())
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new(" hf_secret\n").unwrap()
    }

    #[test]
    fn a_token_is_one_word_and_is_never_shown() {
        assert_eq!(format!("{:?}", token()), "Token(…)");
        assert_eq!(token().header(), "Bearer hf_secret");
        for text in ["", "  ", "two words", "line\nbreak", "ünïcode"] {
            assert_eq!(Token::new(text).err(), Some(TokenError::Shape), "{text:?}");
        }
    }

    #[test]
    fn the_token_goes_to_the_hub_and_to_nobody_else() {
        let access = Access::new("https://hub.example/mirror/", Some(token())).unwrap();
        let gets = |url: &str| access.token_for(&Url::parse(url).unwrap()).is_some();
        assert_eq!(access.base(), "https://hub.example/mirror");
        assert!(gets("https://hub.example/mirror/a/b/resolve/main/config.json"));
        assert!(gets("https://hub.example:443/x"));
        for url in ["https://cdn.hub.example/x", "https://hub.example:8443/x", "http://hub.example/x"] {
            assert!(!gets(url), "{url}");
        }
    }

    #[test]
    fn a_token_does_not_cross_the_network_in_clear_text() {
        assert!(matches!(Access::new("http://hub.example", Some(token())), Err(AccessError::ClearText(_))));
        for endpoint in
            ["http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost", "https://hub.example"]
        {
            assert!(Access::new(endpoint, Some(token())).is_ok(), "{endpoint}");
        }
        assert!(Access::new("http://hub.example", None).is_ok());
    }

    #[test]
    fn an_address_that_is_more_than_an_address_is_refused() {
        for endpoint in
            ["", "hub.example", "ftp://hub.example", "https://a:b@hub.example", "https://hub.example/?x"]
        {
            assert!(matches!(Access::new(endpoint, None), Err(AccessError::Endpoint(_))), "{endpoint}");
        }
    }
}
