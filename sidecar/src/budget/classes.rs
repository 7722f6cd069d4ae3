//! How much memory an RDS or Aurora instance class has.
//!
//! A class is named db.FAMILY.SIZE; within a family memory follows the size. Source: Amazon RDS User
//! Guide, "Hardware specifications for DB instance classes".
//! Invariant: a class that is not certain is not known.

/// Memory of burstable classes by size, GiB.
const BURSTABLE: [(&str, u32); 7] = [
    ("micro", 1),
    ("small", 2),
    ("medium", 4),
    ("large", 8),
    ("xlarge", 16),
    ("2xlarge", 32),
    ("4xlarge", 64),
];

/// Virtual processors by size.
const SIZES: [(&str, u32); 11] = [
    ("medium", 1),
    ("large", 2),
    ("xlarge", 4),
    ("2xlarge", 8),
    ("4xlarge", 16),
    ("8xlarge", 32),
    ("12xlarge", 48),
    ("16xlarge", 64),
    ("24xlarge", 96),
    ("32xlarge", 128),
    ("48xlarge", 192),
];

/// GiB of memory; `None` where it is not known.
pub(super) fn memory_gib(class: &str) -> Option<u32> {
    let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
    let find = |table: &[(&str, u32)]| {
        table.iter().find(|(name, _)| *name == size).map(|(_, value)| *value)
    };
    let generation = family.get(1..)?.chars().next()?.to_digit(10)?;
    match (family.chars().next()?, generation) {
        ('t', 2..=4) => find(&BURSTABLE),
        // Before the fifth generation sizes were others.
        ('m', 5..) => Some(find(&SIZES)? * 4),
        ('r', 5..) => Some(find(&SIZES)? * 8),
        ('c', 5..) => Some(find(&SIZES)? * 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_family_and_size() {
        let known = [
            ("db.t3.micro", 1),
            ("db.t4g.medium", 4),
            ("db.m6g.large", 8),
            ("db.m7i.4xlarge", 64),
            ("db.r6g.large", 16),
            ("db.r5.24xlarge", 768),
            ("db.c6gd.medium", 2),
        ];
        for (class, memory) in known {
            assert_eq!(memory_gib(class), Some(memory), "{class}");
        }
        for class in
            ["db.serverless", "db.r4.large", "db.r6g.tiny", "r6g.large", "db.x2g.large", ""]
        {
            assert_eq!(memory_gib(class), None, "{class}");
        }
    }
}
