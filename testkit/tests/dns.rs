//! The DNS server, asked byte by byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use stent_testkit::NameServer;

const NAME: &str = "primary.stent.test";

fn server() -> NameServer {
    let server = NameServer::start_at("127.0.0.1:0".parse().unwrap(), Duration::from_secs(5));
    let server = server.unwrap();
    server.point(NAME, Ipv4Addr::new(127, 0, 0, 1));
    server
}

/// A question of a type; recursion is wished, as resolvers do.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, kind, 0, 1]);
    question
}

fn ask(server: &NameServer, question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send_to(question, server.address()).unwrap();
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer).unwrap();
    answer[..len].to_vec()
}

#[test]
fn a_name_has_the_address_that_it_was_pointed_to_last_and_how_long_that_may_be_kept() {
    let server = server();
    let asked = question("Primary.Stent.TEST", 1);
    let answer = ask(&server, &asked);
    assert_eq!(&answer[..12], b"\x12\x34\x85\x00\x00\x01\x00\x01\x00\x00\x00\x00");
    assert_eq!(&answer[12..asked.len()], &asked[12..], "the question stands in the answer");
    let record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01";
    assert_eq!(&answer[asked.len()..], record);
    server.point(NAME, Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!(ask(&server, &asked).last(), Some(&2));
    assert_eq!(server.answered(), 2);
}

#[test]
fn a_name_without_such_a_record_is_told_from_one_that_is_not_there() {
    let server = server();
    let ipv6 = ask(&server, &question(NAME, 28));
    assert_eq!((ipv6[3] & 0xf, ipv6[7]), (0, 0), "it is there, and has none");
    let other = ask(&server, &question("elsewhere.test", 1));
    assert_eq!((other[3] & 0xf, other[7]), (3, 0), "NXDOMAIN");
}

#[test]
fn what_is_no_question_gets_no_answer_and_the_next_one_does() {
    let server = server();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for odd in [&b""[..], b"abc", &[0xff; 100], &question(NAME, 1)[..20]] {
        socket.send_to(odd, server.address()).unwrap();
    }
    assert_eq!(ask(&server, &question(NAME, 1)).last(), Some(&1));
    assert_eq!(server.answered(), 1);
}
