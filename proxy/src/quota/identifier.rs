//! What is counted when a limit counts client addresses.

use std::net::{IpAddr, Ipv6Addr};

/// The identifier of a client address: an IPv4 address whole, also when written as IPv4-mapped IPv6; an IPv6
/// address by its /64, which is what one subscriber has.
pub fn of_address(address: IpAddr) -> [u8; 16] {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    if address.to_ipv4_mapped().is_some() {
        return address.octets();
    }
    let network = u128::from(address) >> 64 << 64;
    Ipv6Addr::from(network).octets()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> [u8; 16] {
        of_address(address.parse().unwrap())
    }

    #[test]
    fn a_subscriber_has_one_identifier() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
