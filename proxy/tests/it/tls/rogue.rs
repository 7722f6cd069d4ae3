//! Servers that are not what they claim to be. Checklist 25.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use stent_testkit::Postgres;

use super::authority::{psql, refusal};
use crate::raw::message;
use crate::support::Proxy;

const OFFER: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";

/// What a client hears when PostgreSQL's place is taken by this, behind the start-up packet.
fn served_by(server: fn(&mut TcpStream) -> std::io::Result<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let mut len = [0; 4];
            if socket.read_exact(&mut len).is_err() {
                continue;
            }
            let mut rest = vec![0; u32::from_be_bytes(len) as usize - 4];
            let _ = socket.read_exact(&mut rest).and_then(|()| server(&mut socket));
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
    // Only its password is used: that of a user whose server asks for one.
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.upstream.port = port);
    refusal(&psql(proxy.port, "sslmode=disable", "select 1"))
}

/// Reads a message of ours: its body.
fn hear(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 5];
    socket.read_exact(&mut header)?;
    let len = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
    let mut body = vec![0; len - 4];
    socket.read_exact(&mut body)?;
    Ok(body)
}

#[test]
fn a_server_that_offers_channel_binding_in_clear_is_not_answered() {
    let said = served_by(|socket| {
        socket.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
    });
    assert!(said.contains("SCRAM-SHA-256-PLUS on a connection without TLS"), "{said}");
}

#[test]
fn a_server_that_lets_us_in_without_its_proof_is_refused() {
    let said = served_by(|socket| {
        socket.write_all(&message(b'R', OFFER))?;
        hear(socket)?;
        socket.write_all(&[&message(b'R', &[0; 4])[..], READY].concat())
    });
    assert!(said.contains("authentication messages out of order"), "{said}");
}

/// Answers a client's first message with a challenge, and its proof with this.
fn challenge(socket: &mut TcpStream, last: &str) -> std::io::Result<()> {
    socket.write_all(&message(b'R', OFFER))?;
    let first = String::from_utf8(hear(socket)?).unwrap();
    let nonce = first.split_once("r=").unwrap().1;
    let challenge = format!("r={nonce}more,s=AwMDAwMDAwMDAwMDAwMDAw==,i=4096");
    socket.write_all(&message(b'R', &[b"\0\0\0\x0b", challenge.as_bytes()].concat()))?;
    hear(socket)?;
    let last = message(b'R', &[b"\0\0\0\x0c", last.as_bytes()].concat());
    socket.write_all(&[&last[..], &message(b'R', &[0; 4]), READY].concat())
}

#[test]
fn a_server_that_does_not_know_the_password_is_refused() {
    let said = served_by(|socket| challenge(socket, &format!("v={}=", "A".repeat(43))));
    assert!(said.contains("the server's SCRAM signature is wrong"), "{said}");
    let said = served_by(|socket| challenge(socket, "e=other-error"));
    assert!(said.contains("the server refused the SCRAM exchange"), "{said}");
}

#[test]
fn a_server_that_takes_a_nonce_of_its_own_is_refused() {
    let said = served_by(|socket| {
        socket.write_all(&message(b'R', OFFER))?;
        hear(socket)?;
        let challenge = b"\0\0\0\x0br=other,s=AwMDAwMDAwMDAwMDAwMDAw==,i=4096";
        socket.write_all(&message(b'R', challenge))
    });
    assert!(said.contains("SCRAM nonce mismatch"), "{said}");
}
