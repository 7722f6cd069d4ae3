//! The names of encodings, as PostgreSQL reads and as it reports them.
//!
//! Drivers compare what ParameterStatus says with PostgreSQL's own spelling, so a client that asks
//! for `utf-8` must be told `UTF8` before it has a server.
//! Source: PostgreSQL, `src/common/encnames.c`: a name is compared by its letters and digits.

/// Names as they are compared, behind the spelling that PostgreSQL reports.
const NAMES: [(&str, &str); 42] = [
    ("BIG5", "big5 win950 windows950"),
    ("EUC_CN", "euccn"),
    ("EUC_JIS_2004", "eucjis2004"),
    ("EUC_JP", "eucjp"),
    ("EUC_KR", "euckr"),
    ("EUC_TW", "euctw"),
    ("GB18030", "gb18030"),
    ("GBK", "gbk win936 windows936"),
    ("ISO_8859_5", "iso88595"),
    ("ISO_8859_6", "iso88596"),
    ("ISO_8859_7", "iso88597"),
    ("ISO_8859_8", "iso88598"),
    ("JOHAB", "johab"),
    ("KOI8R", "koi8 koi8r"),
    ("KOI8U", "koi8u"),
    ("LATIN1", "latin1 iso88591"),
    ("LATIN10", "latin10 iso885916"),
    ("LATIN2", "latin2 iso88592"),
    ("LATIN3", "latin3 iso88593"),
    ("LATIN4", "latin4 iso88594"),
    ("LATIN5", "latin5 iso88599"),
    ("LATIN6", "latin6 iso885910"),
    ("LATIN7", "latin7 iso885913"),
    ("LATIN8", "latin8 iso885914"),
    ("LATIN9", "latin9 iso885915"),
    ("MULE_INTERNAL", "muleinternal"),
    ("SHIFT_JIS_2004", "shiftjis2004"),
    ("SJIS", "sjis mskanji shiftjis win932 windows932"),
    ("SQL_ASCII", "sqlascii"),
    ("UHC", "uhc win949 windows949"),
    ("UTF8", "utf8 unicode"),
    ("WIN1250", "win1250 windows1250"),
    ("WIN1251", "win1251 windows1251 win"),
    ("WIN1252", "win1252 windows1252"),
    ("WIN1253", "win1253 windows1253"),
    ("WIN1254", "win1254 windows1254"),
    ("WIN1255", "win1255 windows1255"),
    ("WIN1256", "win1256 windows1256"),
    ("WIN1257", "win1257 windows1257"),
    ("WIN1258", "win1258 windows1258 abc tcvn tcvn5712 vscii"),
    ("WIN866", "win866 windows866 alt"),
    ("WIN874", "win874 windows874"),
];

/// The longest name that is one.
const LEN_MAX: usize = 63;

/// PostgreSQL's spelling of an encoding; `None` of what it would refuse.
pub(super) fn canonical(value: &[u8]) -> Option<&'static [u8]> {
    if value.len() > LEN_MAX {
        return None;
    }
    let letters = value.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let key: String = letters.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    assert!(key.len() <= LEN_MAX, "a name is looked for as a whole");
    let known = NAMES.iter().find(|(_, keys)| keys.split(' ').any(|name| name == key));
    known.map(|(name, _)| name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_read_as_postgresql_reads_them() {
        for (given, reported) in [
            ("utf8", "UTF8"),
            ("'utf-8'", "UTF8"),
            ("Unicode", "UTF8"),
            ("latin-1", "LATIN1"),
            ("iso_8859-15", "LATIN9"),
            ("SQL_ASCII", "SQL_ASCII"),
        ] {
            assert_eq!(canonical(given.as_bytes()), Some(reported.as_bytes()), "{given}");
        }
        for (name, _) in NAMES {
            assert_eq!(canonical(name.as_bytes()), Some(name.as_bytes()));
        }
    }

    #[test]
    fn what_postgresql_refuses_is_left_to_it() {
        for given in ["", "utf9", "klingon", "utf8 utf8"] {
            assert_eq!(canonical(given.as_bytes()), None, "{given}");
        }
    }
}
