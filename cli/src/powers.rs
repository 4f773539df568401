//! `pow`, which the scheduler of tokio asks of the C library.
//!
//! Owns: that one function. Never: called by our code. For it alone a Linux system maps a library of its
//! own: half a megabyte of an idle broker's memory, and a part of its start.

/// # Safety
/// Has the C library's signature and does what that one does; nothing else bears the name.
#[allow(unsafe_code, reason = "a symbol of the C library is given another body")]
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_are_those_of_the_library() {
        for (base, exponent, power) in
            [(0.9_f64, 7.0, 0.478_296_9), (2.0, 0.5, 2_f64.sqrt()), (5.0, 0.0, 1.0)]
        {
            assert!((super::pow(base, exponent) - power).abs() < 1e-15);
            assert!((std::hint::black_box(base).powf(exponent) - power).abs() < 1e-15);
        }
        assert!(super::pow(-1.0, 0.5).is_nan());
    }
}
