//! Ranges of addresses, as `pg_hba.conf` writes them.
//!
//! Refuses: host names (nothing is resolved before a login), `samehost` and `samenet` (they would
//! change with the machine's interfaces), and masks that are no run of ones.
//! Invariant: an address of one family is in no range of the other.

use std::net::IpAddr;

use super::HbaFault;

/// The addresses of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Any, of either family.
    All,
    /// Those whose first `bits` bits are those of `network`.
    Range { network: IpAddr, bits: u32 },
}

impl Addresses {
    /// Whether this address is one of them.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        match (*self, address.to_canonical()) {
            (Self::All, _) => true,
            (Self::Range { network: IpAddr::V4(network), bits }, IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= bits
            }
            (Self::Range { network: IpAddr::V6(network), bits }, IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= bits
            }
            (Self::Range { .. }, _) => false,
        }
    }

    /// Reads `ADDRESS/BITS`. `None`: there is no slash in it.
    pub(super) fn cidr(text: &str) -> Option<Result<Self, HbaFault>> {
        let (address, bits) = text.split_once('/')?;
        let bad = || HbaFault::Address { text: text.to_owned() };
        let range = || {
            let network = host(address).map_err(|_| bad())?;
            let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
            let bits: u32 = bits.parse().ok().filter(|_| digits).ok_or_else(bad)?;
            if width(network) < bits { Err(bad()) } else { Self::range(network, bits, text) }
        };
        Some(range())
    }

    /// Reads an address and its mask.
    pub(super) fn masked(network: IpAddr, mask: &str) -> Result<Self, HbaFault> {
        let bad = || HbaFault::Mask { text: mask.to_owned() };
        let mask_bits = match (network, mask.parse().map_err(|_| bad())?) {
            (IpAddr::V4(_), IpAddr::V4(mask)) => run_of_ones(u128::from(u32::from(mask)) << 96),
            (IpAddr::V6(_), IpAddr::V6(mask)) => run_of_ones(u128::from(mask)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        };
        Self::range(network, mask_bits.ok_or_else(bad)?, mask)
    }

    fn range(network: IpAddr, bits: u32, text: &str) -> Result<Self, HbaFault> {
        assert!(bits <= width(network), "checked where it was read");
        // Such a client is taken for the IPv4 client that it is, so the rule would never fit.
        if network.to_canonical() != network {
            return Err(HbaFault::Mapped { text: text.to_owned() });
        }
        Ok(Self::Range { network, bits })
    }
}

/// Reads an address alone.
pub(super) fn host(text: &str) -> Result<IpAddr, HbaFault> {
    text.parse().map_err(|_| HbaFault::HostName { text: text.to_owned() })
}

const fn width(network: IpAddr) -> u32 {
    match network {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

/// How many ones a mask begins with, if zeros follow and nothing else.
fn run_of_ones(mask: u128) -> Option<u32> {
    let ones = mask.leading_ones();
    (ones == mask.count_ones()).then_some(ones)
}
