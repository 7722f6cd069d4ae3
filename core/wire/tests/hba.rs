//! The rules of who is asked for what: the file's form, and which rule fits.
//!
//! Owns: PostgreSQL's meanings, and an error with its mend for each thing that is not read.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stent_wire::auth::hba::{
    Attempt, Encryption, HBA_LEN_MAX, HbaFault, Method, Origin, RULES_MAX, RuleList, parse,
};
use stent_wire::auth::secret::AuthType;
use stent_wire::startup::Replication;

fn rules(file: &str) -> RuleList {
    parse("hba.conf", file.as_bytes()).unwrap()
}

fn fault(file: &str) -> (usize, HbaFault) {
    let error = parse("hba.conf", file.as_bytes()).unwrap_err();
    (error.line, error.fault)
}

fn tcp(address: &str, encryption: Encryption) -> Origin {
    Origin::Tcp { address: address.parse().unwrap(), encryption }
}

fn attempt<'a>(origin: Origin, database: &'a str, user: &'a str) -> Attempt<'a> {
    Attempt { origin, database, user, replication: Replication::Off }
}

/// The line of the rule that decides.
fn line(rules: &RuleList, attempt: &Attempt<'_>) -> Option<usize> {
    rules.find(attempt).map(|rule| rule.line())
}

/// Whether the one rule of a file fits.
fn fits(rule: &str, origin: Origin, database: &str, user: &str) -> bool {
    rules(rule).find(&attempt(origin, database, user)).is_some()
}

const PLAIN: Encryption = Encryption::None;
const TLS: Encryption = Encryption::Tls;

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = rules(
        "# who may come\n\
         local   all        all                        trust\n\
         hostssl orders     app        10.0.0.0/8      scram-sha-256\n\
         host    all        all        10.1.0.0/16     reject\n\
         host    all        app,report 10.0.0.0/8      md5   # the rest of the network\n\
         host    sameuser   all        0.0.0.0/0       password\n",
    );
    for (origin, database, user, expected) in [
        (Origin::Local, "x", "y", Some(2)),
        (tcp("10.1.2.3", TLS), "orders", "app", Some(3)),
        (tcp("10.1.2.3", PLAIN), "orders", "app", Some(4)),
        (tcp("10.2.2.3", PLAIN), "orders", "app", Some(5)),
        (tcp("10.2.2.3", TLS), "x", "report", Some(5)),
        (tcp("10.2.2.3", TLS), "x", "other", None),
        (tcp("192.0.2.1", TLS), "other", "other", Some(6)),
        (tcp("2001:db8::1", TLS), "other", "other", None),
    ] {
        let attempt = attempt(origin, database, user);
        assert_eq!(line(&rules, &attempt), expected, "{attempt:?}");
    }
    let methods: Vec<Method> = rules.iter().map(|rule| rule.method()).collect();
    let asked = [
        AuthType::Trust,
        AuthType::ScramSha256,
        AuthType::Trust,
        AuthType::Md5,
        AuthType::Password,
    ];
    let mut asked = asked.map(Method::Ask);
    asked[2] = Method::Reject;
    assert_eq!(methods, asked);
}

#[test]
fn each_kind_of_rule_is_for_its_connections() {
    for (kind, local, plain, tls) in [
        ("local all all trust", true, false, false),
        ("host all all all trust", false, true, true),
        ("hostssl all all all trust", false, false, true),
        ("hostnossl all all all trust", false, true, false),
    ] {
        assert_eq!(fits(kind, Origin::Local, "d", "u"), local, "{kind}");
        assert_eq!(fits(kind, tcp("::1", PLAIN), "d", "u"), plain, "{kind}");
        assert_eq!(fits(kind, tcp("127.0.0.1", TLS), "d", "u"), tls, "{kind}");
    }
}

#[test]
fn ranges_of_addresses_are_postgresqls() {
    for (range, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("::1/128", "::1", "::2"),
        ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ("192.168.1.0 255.255.255.128", "192.168.1.127", "192.168.1.128"),
        ("fe80:: ffc0::", "febf::1", "fec0::1"),
        ("0.0.0.0 0.0.0.0", "1.2.3.4", "::"),
        // Bits behind the mask mean nothing.
        ("10.9.9.9/8", "10.0.0.1", "9.9.9.9"),
        // An IPv4 client of a socket that takes both families.
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
    ] {
        let rule = format!("host all all {range} trust");
        assert!(fits(&rule, tcp(inside, PLAIN), "d", "u"), "{range} {inside}");
        assert!(!fits(&rule, tcp(outside, PLAIN), "d", "u"), "{range} {outside}");
    }
}

#[test]
fn a_name_in_quotes_is_never_a_keyword() {
    for (rule, database, user, expected) in [
        ("local all all trust", "x", "y", true),
        ("local \"all\" all trust", "x", "y", false),
        ("local \"all\" all trust", "all", "y", true),
        ("local all \"all\" trust", "x", "y", false),
        ("local sameuser all trust", "x", "x", true),
        ("local sameuser all trust", "sameuser", "x", false),
        ("local \"sameuser\" all trust", "sameuser", "x", true),
        ("local \"replication\" all trust", "replication", "x", true),
        ("local replication all trust", "replication", "x", false),
        ("local \"two words\",\"a \"\"b\"\" #c\" all trust", "two words", "y", true),
        ("local \"two words\",\"a \"\"b\"\" #c\" all trust", "a \"b\" #c", "y", true),
        ("local all \"+app\" trust", "x", "+app", true),
        ("local all \"@app\" trust", "x", "@app", true),
        ("local Orders all trust", "orders", "y", false),
        ("local a, b ,c trust", "b", "c", false),
    ] {
        if rule.contains(" ,") {
            assert_eq!(fault(rule), (1, HbaFault::Comma));
            continue;
        }
        assert_eq!(fits(rule, Origin::Local, database, user), expected, "{rule} {database}");
    }
    assert!(fits("local a, b all trust", Origin::Local, "b", "u"));
}

#[test]
fn physical_replication_is_named_by_its_own_word_only() {
    let all = rules("local all,sameuser,db all trust");
    let named = rules("local replication all trust");
    for (replication, by_all, by_word) in [
        (Replication::Off, true, false),
        (Replication::Logical, true, false),
        (Replication::Physical, false, true),
    ] {
        let attempt = Attempt { replication, ..attempt(Origin::Local, "db", "db") };
        assert_eq!(all.find(&attempt).is_some(), by_all, "{replication:?}");
        assert_eq!(named.find(&attempt).is_some(), by_word, "{replication:?}");
    }
}

#[test]
fn lines_may_go_on_and_end_in_any_way() {
    let rules =
        rules("\u{feff}\r\n\n  # x\nhost all \\\r\n  all \\\n  ::1/128 md5\r\nlocal all all md5");
    assert_eq!(line(&rules, &attempt(tcp("::1", PLAIN), "d", "u")), Some(4));
    assert_eq!(line(&rules, &attempt(Origin::Local, "d", "u")), Some(7));
    assert_eq!(fault("local all all \\\ntrust\nhost all all"), (3, HbaFault::AddressMissing));
}

/// Each fault with its text, which names the mend.
#[test]
fn what_is_not_understood_is_refused_with_its_line_and_the_mend() {
    for (rule, text) in [
        ("hosts all all all md5", "\"hosts\" is no kind of rule; begin with local"),
        ("Local all all md5", "\"Local\" is no kind of rule"),
        ("\"local\" all all md5", "\"local\" is no kind of rule"),
        ("local,host all all md5", "the kind of rule is a list; write one"),
        ("hostgssenc all all all md5", "hostgssenc is about GSSAPI"),
        ("hostnogssenc all all all md5", "hostnogssenc is about GSSAPI"),
        ("include more.conf", "\"include\" would include another file"),
        ("local @dbs all md5", "\"@dbs\" would include another file"),
        ("local all @users md5", "\"@users\" would include another file"),
        ("local", "the rule names no database"),
        ("local all", "the rule names no user"),
        ("local all all", "the rule has no method"),
        ("host all all", "the rule has no address"),
        ("host all all all", "the rule has no method"),
        ("local samerole all md5", "samerole asks who is in a group"),
        ("local samegroup all md5", "samegroup asks who is in a group"),
        ("local all +admins md5", "\"+admins\" is a group"),
        ("local /^app all md5", "\"/^app\" is a regular expression"),
        ("local all \"/^app\" md5", "\"/^app\" is a regular expression"),
        ("local \"\" all md5", "a name is empty"),
        ("local \"all all md5", "a quoted name does not end on its line"),
        ("local all,, all md5", "a comma stands where a word should"),
        ("host all all samehost md5", "samehost is not supported; write the range"),
        ("host all all samenet md5", "samenet is not supported; write the range"),
        ("host all all db.internal md5", "\"db.internal\" is no address"),
        ("host all all .internal md5", "\".internal\" is no address"),
        ("host all all 10.0.0.0/33 md5", "\"10.0.0.0/33\" is no range"),
        ("host all all 10.0.0.0/ md5", "\"10.0.0.0/\" is no range"),
        ("host all all 10.0.0.0/+8 md5", "\"10.0.0.0/+8\" is no range"),
        ("host all all ::1/129 md5", "\"::1/129\" is no range"),
        ("host all all 10.0.0/8 md5", "\"10.0.0/8\" is no range"),
        ("host all all 10.0.0.1 md5", "10.0.0.1 has no mask; write 10.0.0.1/32"),
        ("host all all ::1 md5", "::1 has no mask; write ::1/128"),
        ("host all all ::1", "::1 has no mask; write ::1/128"),
        ("host all all 10.0.0.1 255.0.255.0 md5", "\"255.0.255.0\" is no mask"),
        ("host all all 10.0.0.1 ffff:: md5", "\"ffff::\" is no mask"),
        ("host all all ::ffff:10.0.0.0/104 md5", "\"::ffff:10.0.0.0/104\" stands for an IPv4"),
        ("host all all 10.0.0.0/8,::1/128 md5", "the address is a list"),
        ("local all all md5,trust", "the method is a list"),
        ("local all all SCRAM-SHA-256", "\"SCRAM-SHA-256\" is no method"),
        ("local all all plaintext", "\"plaintext\" is no method"),
        ("local all all peer", "the method peer is not spoken"),
        ("host all all all ldap ldapserver=x", "the method ldap is not spoken"),
        ("local all all cert", "cert is for TLS only; write hostssl in place of local"),
        ("host all all all cert", "cert is for TLS only; write hostssl in place of host"),
        ("hostssl all all all md5 clientcert=verify-ca", "the option \"clientcert\" is not"),
        ("hostssl all all all cert map=m", "the option \"map\" is not supported"),
        ("local all all md5 md5", "the option \"md5\" is not supported"),
    ] {
        let file = format!("# first\nlocal all all reject\n{rule}\n");
        let error = parse("hba.conf", file.as_bytes()).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("line 3: {text}")), "{rule}: {shown}");
        assert!(shown.contains("; "), "a mend stands behind a semicolon: {shown}");
    }
}

#[test]
fn a_file_without_rules_is_refused_and_a_list_without_rules_refuses() {
    for file in ["", "\n", "# only this\n"] {
        assert_eq!(fault(file), (1, HbaFault::NoRules));
    }
    let attempt = attempt(Origin::Local, "d", "u");
    assert!(RuleList::default().find(&attempt).is_none());
}

#[test]
fn file_and_rules_have_their_limits() {
    let many = "local all all md5\n".repeat(RULES_MAX);
    assert_eq!(rules(&many).iter().count(), RULES_MAX);
    assert_eq!(fault(&(many + "local all all md5")), (RULES_MAX + 1, HbaFault::TooMany));
    assert_eq!(fault(&" ".repeat(HBA_LEN_MAX + 1)), (1, HbaFault::TooLong));
    let error = parse("x", b"local all all md5\n\xff\xfe all").unwrap_err();
    assert_eq!((error.line, error.fault), (2, HbaFault::NotUtf8));
}

#[test]
fn refusals_are_in_postgresqls_words_and_name_our_file() {
    let rules = rules("local all all reject");
    let over_tls = attempt(tcp("::ffff:10.0.0.9", TLS), "orders", "eve");
    let report = rules.no_rule(&over_tls);
    assert_eq!(report.code.as_str(), "28000");
    assert_eq!(
        report.message,
        "no pg_hba.conf entry for host \"10.0.0.9\", user \"eve\", database \"orders\", \
         SSL encryption"
    );
    assert!(report.hint.unwrap().contains("hba.conf"));
    let local = attempt(Origin::Local, "orders", "eve");
    let report = rules.rejected(&local);
    assert_eq!(
        report.message,
        "pg_hba.conf rejects connection for host \"[local]\", user \"eve\", database \"orders\", \
         no encryption"
    );
    let physical = Attempt { replication: Replication::Physical, ..local };
    assert_eq!(
        rules.no_rule(&physical).message,
        "no pg_hba.conf entry for replication connection from host \"[local]\", user \"eve\", \
         no encryption"
    );
    assert!(rules.rejected(&physical).message.contains("rejects replication connection"));
}

#[test]
fn rules_that_take_passwords_in_clear_are_known() {
    for (rule, in_clear) in [
        ("host all all all password", true),
        ("hostnossl all all all password", true),
        ("hostssl all all all password", false),
        ("local all all password", false),
        ("host all all all md5", false),
    ] {
        let rules = rules(rule);
        let found = rules.iter().any(|rule| rule.takes_passwords_in_clear());
        assert_eq!(found, in_clear, "{rule}");
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
    ]
}

/// An address as its bits, first to last.
fn bits(address: IpAddr) -> Vec<bool> {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1)).collect()
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(file in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "(local|host|hostssl|all|\"|,|#|10.0.0.0/8|::1|md5|trust|[ab@+/\\\\ \n]){0,12}"
            .prop_map(String::into_bytes),
    ]) {
        if let Ok(rules) = parse("x", &file) {
            prop_assert!(rules.iter().count() > 0);
            let _ = rules.find(&attempt(Origin::Local, "a", "b"));
        }
    }

    #[test]
    fn an_address_is_in_a_range_if_its_first_bits_are_the_networks(
        network in address(), client in address(), own in any::<bool>(), prefix in 0_u32..=128,
    ) {
        // Chance alone would put no client into a narrow range.
        let client = if own { network } else { client };
        let width = bits(network).len();
        let prefix = (prefix as usize).min(width);
        prop_assume!(network.to_canonical() == network && client.to_canonical() == client);
        let rule = format!("host all all {network}/{prefix} trust");
        let naive = bits(client).len() == width && bits(client)[..prefix] == bits(network)[..prefix];
        let origin = Origin::Tcp { address: client, encryption: PLAIN };
        prop_assert_eq!(fits(&rule, origin, "d", "u"), naive);
    }

    #[test]
    fn any_name_can_be_written_in_quotes(name in "[^/\u{0}\r\n\\\\][^\u{0}\r\n\\\\]{0,20}") {
        let quoted = name.replace('"', "\"\"");
        let rule = format!("local \"{quoted}\" \"{quoted}\" md5");
        prop_assert!(fits(&rule, Origin::Local, &name, &name));
    }

    #[test]
    fn no_rule_behind_the_first_that_fits_is_looked_at(
        kinds in prop::collection::vec(("local|host", "a|b|all", "a|b|all"), 1..8),
        database in "a|b", user in "a|b",
    ) {
        let file: Vec<String> = kinds.iter().map(|(kind, database, user)| {
            let address = if kind == "host" { "all" } else { "" };
            format!("{kind} {database} {user} {address} md5")
        }).collect();
        let is = |word: &str, value: &str| word == "all" || word == value;
        let naive = kinds.iter().position(|(kind, databases, users)| {
            kind == "local" && is(databases, &database) && is(users, &user)
        });
        let rules = rules(&file.join("\n"));
        let found = line(&rules, &attempt(Origin::Local, &database, &user));
        prop_assert_eq!(found, naive.map(|at| at + 1));
    }
}
