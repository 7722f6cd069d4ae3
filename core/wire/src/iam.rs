//! Amazon RDS's IAM authentication: the password is a request that was signed and never sent.
//!
//! Owns: the token, its signature (SigV4 in the query), and the two forms of time in it.
//! Refuses: finding credentials, and the clock: both are arguments.
//! Invariant: keys and tokens never print and are wiped when dropped; the same arguments give the
//! same token.
//! Source: Amazon RDS user guide, "IAM database authentication"; IAM user guide, "AWS Signature
//! Version 4 for API requests", "Create a signed AWS API request".

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::auth::secret::{Password, SecretError};

use crate::time;
pub use crate::time::{BadTime, parse_time};

/// How long RDS takes a token. The connection that was opened with it lives on.
pub const TOKEN_SECONDS: u64 = 900;

/// The hash of a request without a body.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is signed with.
#[derive(Clone)]
pub struct AwsKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Zeroizing<String>,
    /// `AWS_SESSION_TOKEN`, which temporary credentials have.
    pub session_token: Option<Zeroizing<String>>,
}

/// Whom the token is for. RDS checks each of these, so `host` is the endpoint itself and not another
/// name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The endpoint's host name.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The database user.
    pub user: &'a str,
    /// The region of the endpoint.
    pub region: &'a str,
}

/// A request that is to be signed.
struct Request<'a> {
    host: &'a str,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    region: &'a str,
    service: &'a str,
    payload_hash: &'a str,
    expires_seconds: u64,
}

/// The password with which `target.user` logs in from now (in seconds since 1970) until
/// [`TOKEN_SECONDS`] later.
///
/// # Errors
/// The token is longer than a secret may be: the session token is too long.
pub fn auth_token(target: Target<'_>, keys: &AwsKeys, now: u64) -> Result<Password, SecretError> {
    let host = format!("{}:{}", target.host.to_ascii_lowercase(), target.port);
    let query = presign(
        &Request {
            host: &host,
            path: "/",
            query: &[("Action", "connect"), ("DBUser", target.user)],
            region: target.region,
            service: "rds-db",
            payload_hash: EMPTY_PAYLOAD,
            expires_seconds: TOKEN_SECONDS,
        },
        keys,
        now,
    );
    let token = Zeroizing::new(format!("{host}/?{}", &*query));
    Password::new(token.as_bytes())
}

/// The region in the name of an RDS endpoint.
pub fn region_of(host: &str) -> Option<&str> {
    let domains = [".rds.amazonaws.com", ".rds.amazonaws.com.cn"];
    let name = domains.iter().find_map(|domain| host.strip_suffix(domain))?;
    let (_, region) = name.rsplit_once('.')?;
    (!region.is_empty()).then_some(region)
}

/// The query with its signature. Source: "Create a signed AWS API request", query parameters.
fn presign(request: &Request<'_>, keys: &AwsKeys, now: u64) -> Zeroizing<String> {
    let stamp = time::stamp(now);
    let (date, _) = stamp.split_once('T').expect("a stamp has a T between date and time");
    let scope = format!("{date}/{}/{}/aws4_request", request.region, request.service);
    let credential = format!("{}/{scope}", keys.access_key_id);
    let expires = request.expires_seconds.to_string();
    let mut pairs: Vec<(&str, &str)> = request.query.to_vec();
    pairs.extend([
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &stamp),
        ("X-Amz-Expires", &expires),
        ("X-Amz-SignedHeaders", "host"),
    ]);
    pairs.extend(keys.session_token.as_ref().map(|token| ("X-Amz-Security-Token", token.as_str())));
    pairs.sort_unstable();
    assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0), "a name occurs once, in order");
    let mut query = Zeroizing::new(String::new());
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        put_encoded(&mut query, name);
        query.push('=');
        put_encoded(&mut query, value);
    }
    let canonical = Zeroizing::new(format!(
        "GET\n{}\n{}\nhost:{}\n\nhost\n{}",
        request.path, &*query, request.host, request.payload_hash
    ));
    let hash = hex(&Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
    let key = signing_key(&keys.secret_access_key, date, request.region, request.service);
    query.push_str("&X-Amz-Signature=");
    query.push_str(&hex(&*hmac(&*key, to_sign.as_bytes())));
    query
}

type Key = Zeroizing<[u8; 32]>;

fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> Key {
    let first = Zeroizing::new(format!("AWS4{secret}"));
    let key = hmac(first.as_bytes(), date.as_bytes());
    let key = hmac(&*key, region.as_bytes());
    let key = hmac(&*key, service.as_bytes());
    hmac(&*key, b"aws4_request")
}

fn hmac(key: &[u8], text: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// AWS's own percent-encoding: everything but RFC 3986's unreserved characters.
fn put_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(digit(byte >> 4, b"0123456789ABCDEF"));
            out.push(digit(byte & 0xf, b"0123456789ABCDEF"));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [digit(byte >> 4, digits), digit(byte & 0xf, digits)]).collect()
}

fn digit(nibble: u8, digits: &[u8; 16]) -> char {
    char::from(digits[usize::from(nibble)])
}

impl std::fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AwsKeys({}, redacted)", self.access_key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn keys(id: &str, secret: &str, token: Option<&str>) -> AwsKeys {
        AwsKeys {
            access_key_id: id.to_owned(),
            secret_access_key: Zeroizing::new(secret.to_owned()),
            session_token: token.map(|token| Zeroizing::new(token.to_owned())),
        }
    }

    /// AWS General Reference, "Deriving the signing key", example.
    #[test]
    fn the_published_signing_key_is_derived() {
        let key = signing_key(SECRET, "20120215", "us-east-1", "iam");
        assert_eq!(hex(&*key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    /// Amazon S3 API reference, "Authenticating Requests: Using Query Parameters", example.
    #[test]
    fn the_published_presigned_request_is_signed() {
        let request = Request {
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: &[],
            region: "us-east-1",
            service: "s3",
            payload_hash: "UNSIGNED-PAYLOAD",
            expires_seconds: 86_400,
        };
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let query = presign(&request, &keys("AKIAIOSFODNN7EXAMPLE", secret, None), 1_369_353_600);
        assert_eq!(
            *query,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=\
             aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    /// What botocore 1.44.5 makes of the same arguments (`generate_db_auth_token`).
    #[test]
    fn a_token_is_botocores() {
        let target = Target {
            host: "db.c9akciq32.eu-west-1.rds.amazonaws.com",
            port: 5432,
            user: "app",
            region: "eu-west-1",
        };
        let token = auth_token(target, &keys("AKIDEXAMPLE", SECRET, None), 1_772_323_199).unwrap();
        assert_eq!(
            std::str::from_utf8(token.as_bytes()).unwrap(),
            "db.c9akciq32.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260228%2F\
             eu-west-1%2Frds-db%2Faws4_request&X-Amz-Date=20260228T235959Z&X-Amz-Expires=900\
             &X-Amz-SignedHeaders=host&X-Amz-Signature=\
             babacb366e5489963f2c351b035e6e33067f6ca3a3efb071fd7b2fcdc39a623b"
        );
    }

    /// The same, with a session token, odd characters and a host in capitals.
    #[test]
    fn temporary_credentials_and_odd_names_are_signed_as_botocore_signs_them() {
        let session = "IQoJb3JpZ2luX2VjEJ//////////wEaCWV1LXdlc3QtMSJHMEUCIQ+a/b=c";
        let target = Target {
            host: "Db.Example.internal",
            port: 6543,
            user: "o'brien+x/y z~\u{e9}",
            region: "us-gov-west-1",
        };
        let keys = keys("AKIDEXAMPLE", SECRET, Some(session));
        let token = auth_token(target, &keys, 1_709_164_800).unwrap();
        let token = std::str::from_utf8(token.as_bytes()).unwrap();
        assert!(token.starts_with("db.example.internal:6543/?Action=connect&DBUser="));
        assert!(token.contains("DBUser=o%27brien%2Bx%2Fy%20z~%C3%A9&"));
        assert!(token.contains(
            "&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEJ%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F\
             wEaCWV1LXdlc3QtMSJHMEUCIQ%2Ba%2Fb%3Dc&"
        ));
        assert!(token.ends_with(
            "&X-Amz-Signature=326b11842dd5d206483126473f1e076932450f574105b847212735c1b220fb49"
        ));
    }

    #[test]
    fn a_session_token_that_no_password_can_hold_is_an_error() {
        let target = Target { host: "h", port: 1, user: "u", region: "us-east-1" };
        let long = "t/".repeat(2_000);
        let fits = auth_token(target, &keys("A", "s", Some(&long[..3_800])), 946_684_800);
        assert!(fits.unwrap().as_bytes().len() > 7_000);
        let error = auth_token(target, &keys("A", "s", Some(&"/".repeat(3_000))), 0).unwrap_err();
        assert_eq!(error, SecretError::TooLong);
    }

    #[test]
    fn the_region_is_in_the_endpoints_name() {
        for (host, region) in [
            ("db.c9akciq32.eu-west-1.rds.amazonaws.com", Some("eu-west-1")),
            ("c.cluster-ro-x.us-gov-west-1.rds.amazonaws.com", Some("us-gov-west-1")),
            ("db.x.cn-north-1.rds.amazonaws.com.cn", Some("cn-north-1")),
            ("rds.amazonaws.com", None),
            ("db.internal", None),
            ("x.rds.amazonaws.com", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }

    #[test]
    fn keys_do_not_print() {
        let shown = format!("{:?}", keys("AKID", "canary", Some("canary")));
        assert_eq!(shown, "AwsKeys(AKID, redacted)");
    }
}
