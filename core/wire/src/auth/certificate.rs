//! The two facts of an X.509 certificate that authentication uses: whom it names, and the hash of
//! it that binds a SCRAM exchange to the TLS channel.
//!
//! Owns: a walk through the first fields of a certificate in DER. Refuses: trust: signatures,
//! validity and chains are the TLS library's, and come before.
//! Invariant: what is unclear (two names, an unknown signature, bytes that do not add up) is
//! `None`, never a guess.
//! Source: RFC 5280 section 4.1, RFC 5929 section 4.1, RFC 4055 section 3.1.

use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// The channel binding `tls-server-end-point` of a connection: the hash of the certificate that its
/// server has shown. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndPoint(Box<[u8]>);

/// The hash functions of certificates' signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl EndPoint {
    /// Of a server's certificate in DER. `None` where its signature names no hash function (Ed25519
    /// does not) or an unknown one: then there is no such binding, and none may be offered.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let hash = signature_hash(Fields::of(certificate)?.signature)?;
        let sum: Box<[u8]> = match hash {
            Hash::Sha224 => Sha224::digest(certificate).as_slice().into(),
            Hash::Sha256 => Sha256::digest(certificate).as_slice().into(),
            Hash::Sha384 => Sha384::digest(certificate).as_slice().into(),
            Hash::Sha512 => Sha512::digest(certificate).as_slice().into(),
        };
        assert!((28..=64).contains(&sum.len()), "a sum of the SHA-2 family");
        Some(Self(sum))
    }

    /// The bytes that go into the exchange.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The subject's common name: of a client's certificate, the user that it may be. `None` where there
/// is none, where there are several, and where it is not plain text.
pub fn common_name(certificate: &[u8]) -> Option<&str> {
    let mut names = Der(Fields::of(certificate)?.subject);
    let mut found = None;
    while !names.0.is_empty() {
        let mut set = Der(names.expect(SET)?);
        while !set.0.is_empty() {
            let mut attribute = Der(set.expect(SEQUENCE)?);
            if attribute.expect(OBJECT_IDENTIFIER)? != COMMON_NAME {
                continue;
            }
            let (tag, text) = attribute.next()?;
            if found.is_some() || !attribute.0.is_empty() {
                return None;
            }
            found = Some(plain_text(tag, text)?);
        }
    }
    assert!(found != Some(""), "a name that is none would be the user of a packet without one");
    found
}

fn plain_text(tag: u8, text: &[u8]) -> Option<&str> {
    let is_right = match tag {
        UTF8_STRING => true,
        PRINTABLE_STRING | IA5_STRING => text.is_ascii(),
        _ => false,
    };
    let text = std::str::from_utf8(text).ok().filter(|_| is_right)?;
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0] EXPLICIT`: a certificate's version, and the hash among RSASSA-PSS's parameters.
const CONTEXT_0: u8 = 0xa0;

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.2.840.113549.1.1: RSA's signatures, by one more number.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.1.
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
/// 1.2.840.10045.4.3: ECDSA with SHA-2, by one more number.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// 2.16.840.1.101.3.4.2: SHA-2, by one more number.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// 1.3.14.3.2.26.
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];

/// The parts of a certificate that are looked at.
struct Fields<'a> {
    subject: &'a [u8],
    /// The algorithm of its signature, with parameters.
    signature: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut whole = Der(certificate);
        let mut parts = Der(whole.expect(SEQUENCE)?);
        let mut signed = Der(parts.expect(SEQUENCE)?);
        let signature = parts.expect(SEQUENCE)?;
        parts.expect(BIT_STRING)?;
        if !parts.0.is_empty() || !whole.0.is_empty() {
            return None;
        }
        if signed.0.first() == Some(&CONTEXT_0) {
            signed.expect(CONTEXT_0)?;
        }
        signed.expect(INTEGER)?;
        // The algorithm once more, the issuer, and the validity.
        for _ in 0..3 {
            signed.expect(SEQUENCE)?;
        }
        Some(Self { subject: signed.expect(SEQUENCE)?, signature })
    }
}

/// The hash of a signature's algorithm; for MD5 and SHA-1 it is SHA-256 (RFC 5929).
fn signature_hash(algorithm: &[u8]) -> Option<Hash> {
    let mut algorithm = Der(algorithm);
    let oid = algorithm.expect(OBJECT_IDENTIFIER)?;
    if oid == ECDSA_SHA1 {
        return Some(Hash::Sha256);
    }
    if let Some([kind]) = oid.strip_prefix(ECDSA) {
        return match kind {
            1 => Some(Hash::Sha224),
            2 => Some(Hash::Sha256),
            3 => Some(Hash::Sha384),
            4 => Some(Hash::Sha512),
            _ => None,
        };
    }
    let Some([kind]) = oid.strip_prefix(RSA) else { return None };
    match kind {
        // MD5, SHA-1, SHA-256.
        4 | 5 | 11 => Some(Hash::Sha256),
        12 => Some(Hash::Sha384),
        13 => Some(Hash::Sha512),
        14 => Some(Hash::Sha224),
        10 => pss_hash(algorithm.expect(SEQUENCE)?),
        _ => None,
    }
}

/// The hash among RSASSA-PSS's parameters: SHA-1 where none is named.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let mut parameters = Der(parameters);
    if parameters.0.first() != Some(&CONTEXT_0) {
        return Some(Hash::Sha256);
    }
    let mut named = Der(Der(parameters.expect(CONTEXT_0)?).expect(SEQUENCE)?);
    let oid = named.expect(OBJECT_IDENTIFIER)?;
    match oid.strip_prefix(SHA2) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        Some([4]) => Some(Hash::Sha224),
        Some(_) => None,
        None => (oid == SHA1).then_some(Hash::Sha256),
    }
}

/// Reads values of DER from the front: a tag, a length, that many bytes.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        const LONG: u8 = 0x80;
        let (&tag, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (len, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            // Certificates of 16 MiB and more do not pass a TLS handshake.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(short - LONG))?;
                (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        assert!(rest.len() < self.0.len(), "each step takes something");
        self.0 = rest;
        Some((tag, value))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(of, _)| *of == tag).map(|(_, value)| value)
    }
}
