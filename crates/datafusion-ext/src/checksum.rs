//! A checksum of bytes that is the same everywhere.

/// FNV-1a: it finds accidents and tells names apart, and is no protection against intent.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
