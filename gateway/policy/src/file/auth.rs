//! The key `auth` of a provider as written: which way, and where the secrets lie.

use std::path::PathBuf;

use http::HeaderName;

use super::fields::{self, Fields};
use super::node::Node;
use super::scalar;
use crate::auth::{SecretRef, SigV4};
use crate::diagnostic::{Findings, Spanned};

/// How requests are authenticated.
#[derive(Debug)]
pub(crate) enum AuthFile {
    Bearer(SecretRef),
    Headers(Vec<SecretFile>),
    SigV4(Spanned<SigV4>),
    Google(Spanned<SecretRef>),
}

/// A header and where its value lies.
#[derive(Debug)]
pub(crate) struct SecretFile {
    pub(crate) header: Spanned<HeaderName>,
    pub(crate) secret: SecretRef,
}

/// Why a key that would hold a secret is refused.
const INLINE: &str = "would put a secret into the policy";
/// What to write instead.
const ELSEWHERE: &str = "name the file that holds it (`…_file`) or the variable (`…_env`)";

/// Reads `auth`.
pub(super) fn auth(node: &Node, findings: &mut Findings) -> Option<AuthFile> {
    let mut fields = Fields::open(node, "`auth`", findings)?;
    let ways = [
        fields.optional("bearer_file").and_then(|n| secret(n, findings, file_secret)).map(AuthFile::Bearer),
        fields.optional("bearer_env").and_then(|n| secret(n, findings, env_secret)).map(AuthFile::Bearer),
        fields.optional("header_file").and_then(|n| headers(n, findings, file_secret)).map(AuthFile::Headers),
        fields.optional("header_env").and_then(|n| headers(n, findings, env_secret)).map(AuthFile::Headers),
        fields.optional("sigv4").and_then(|n| sigv4(n, findings)).map(AuthFile::SigV4),
        fields.optional("google").and_then(|n| google(n, findings)).map(AuthFile::Google),
    ];
    let inline_keys = ["bearer", "token", "api_key", "key", "header", "headers", "basic", "password"];
    let written_count = fields.len();
    fields.close_with_hint(&inline_keys.map(|key| (key, INLINE)), ELSEWHERE, findings);
    if written_count != 1 {
        let hint =
            "write one of `bearer_file`, `bearer_env`, `header_file`, `header_env`, `sigv4` and `google`";
        findings.error_with_hint(node.at, "`auth` names one way to authenticate", hint);
        return None;
    }
    ways.into_iter().flatten().next()
}

fn sigv4(node: &Node, findings: &mut Findings) -> Option<Spanned<SigV4>> {
    let mut fields = Fields::open(node, "`sigv4`", findings)?;
    let region = fields.required("region", findings).and_then(|node| region(node, findings));
    let id = either(&mut fields, ["access_key_id_file", "access_key_id_env"], findings);
    let secret = either(&mut fields, ["secret_access_key_file", "secret_access_key_env"], findings);
    let token = either(&mut fields, ["session_token_file", "session_token_env"], findings);
    let inline = ["access_key_id", "secret_access_key", "session_token"].map(|key| (key, INLINE));
    // A secret in the wrong place is one mistake; that its reference is missing would be a second message about it.
    let written_inline: Vec<&str> =
        inline.iter().map(|(key, _)| *key).filter(|key| fields.has(key)).collect();
    fields.close_with_hint(&inline, ELSEWHERE, findings);
    let mut needed = |reference: Written, key: &str| {
        if matches!(reference, Written::Not) && !written_inline.contains(&key) {
            let hint = format!("write `{key}_file: …` or `{key}_env: …`");
            findings.error_with_hint(node.at, format!("`{key}_…` is missing in `sigv4`"), hint);
        }
        reference.secret()
    };
    let (id, secret) = (needed(id, "access_key_id"), needed(secret, "secret_access_key"));
    if matches!(token, Written::Wrong) {
        return None;
    }
    let (region, access_key_id, secret_access_key) = (region?, id?, secret?);
    let value = SigV4 { region, access_key_id, secret_access_key, session_token: token.secret() };
    Some(Spanned { value, at: node.at })
}

fn google(node: &Node, findings: &mut Findings) -> Option<Spanned<SecretRef>> {
    let mut fields = Fields::open(node, "`google`", findings)?;
    let key = either(&mut fields, ["key_file", "key_env"], findings);
    let is_inline = fields.has("key");
    fields.close_with_hint(&[("key", INLINE), ("private_key", INLINE)], ELSEWHERE, findings);
    if matches!(key, Written::Not) && !is_inline {
        let hint = "write `key_file: …`, the path of a service account's key in JSON, or `key_env: …`";
        findings.error_with_hint(node.at, "`key_…` is missing in `google`", hint);
    }
    Some(Spanned { value: key.secret()?, at: node.at })
}

/// A region becomes part of a signature's scope, so its alphabet is that of AWS.
fn region(node: &Node, findings: &mut Findings) -> Option<String> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    if !value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        let message = format!("`{value}` is not a region of AWS");
        findings.error_with_hint(at, message, "write it as `eu-central-1`");
        return None;
    }
    Some(value)
}

/// What stands at one of two keys.
enum Written {
    Not,
    Wrong,
    Once(SecretRef),
}

impl Written {
    fn secret(self) -> Option<SecretRef> {
        match self {
            Self::Once(secret) => Some(secret),
            Self::Not | Self::Wrong => None,
        }
    }
}

/// Reads a secret that lies in a file or in a variable, but not in both.
fn either(fields: &mut Fields<'_>, [file, env]: [&'static str; 2], findings: &mut Findings) -> Written {
    let read = match (fields.optional(file), fields.optional(env)) {
        (None, None) => return Written::Not,
        (Some(node), None) => secret(node, findings, file_secret),
        (None, Some(node)) => secret(node, findings, env_secret),
        (Some(_), Some(node)) => {
            let message = format!("`{file}` and `{env}` say two things");
            findings.error_with_hint(node.at, message, "remove one of the two");
            None
        }
    };
    read.map_or(Written::Wrong, Written::Once)
}

fn file_secret(path: String) -> SecretRef {
    SecretRef::File(PathBuf::from(path))
}

fn env_secret(variable: String) -> SecretRef {
    SecretRef::Env(variable)
}

fn secret(node: &Node, findings: &mut Findings, reference: fn(String) -> SecretRef) -> Option<SecretRef> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    let reference = reference(value);
    if let SecretRef::Env(variable) = &reference
        && !is_variable_name(variable)
    {
        // The text is not repeated: it may be the secret itself, written in the wrong place.
        let hint = "write the variable's name, such as `OPENAI_API_KEY`, not its value";
        findings.error_with_hint(at, "this is not the name of an environment variable", hint);
        return None;
    }
    Some(reference)
}

fn headers(
    node: &Node,
    findings: &mut Findings,
    reference: fn(String) -> SecretRef,
) -> Option<Vec<SecretFile>> {
    let entries = fields::entries(node, "headers", findings)?;
    if entries.is_empty() {
        let hint = "write the header and where its value lies, such as `x-api-key: /run/secrets/key`";
        findings.error_with_hint(node.at, "no header is named", hint);
        return None;
    }
    let headers = entries.iter().filter_map(|entry| {
        let header = header_name(&entry.key, findings)?;
        let secret = secret(&entry.value, findings, reference)?;
        Some(SecretFile { header, secret })
    });
    Some(headers.collect())
}

fn header_name(key: &Spanned<String>, findings: &mut Findings) -> Option<Spanned<HeaderName>> {
    let Ok(value) = HeaderName::from_lowercase(key.value.as_bytes()) else {
        let message = format!("`{}` is not a header name in lower case", key.value);
        findings.error_with_hint(key.at, message, "write it as `x-api-key`");
        return None;
    };
    Some(Spanned { value, at: key.at })
}

fn is_variable_name(text: &str) -> bool {
    let is_first_plain = !text.starts_with(|c: char| c.is_ascii_digit());
    is_first_plain && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
