//! Durations and sizes as people write them: a whole number and a unit. Prices, which are decimals.
//!
//! A number without a unit is refused, because seconds and milliseconds, or megabytes and mebibytes, look
//! alike. Fractions are refused too: `90s` says what `1.5m` means.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A way of measuring: its units, largest first, and how to ask for a value.
struct Measure {
    units: &'static [(&'static str, u64)],
    /// The unit that a number without one was probably meant in.
    usual_unit: &'static str,
    example: &'static str,
}

/// Time, in milliseconds. Weeks and months are left out because people count them differently; record keeping
/// counts a year as 365 days.
const TIME: Measure = Measure {
    units: &[
        ("y", 365 * DAY * 1000),
        ("d", DAY * 1000),
        ("h", HOUR * 1000),
        ("m", MINUTE * 1000),
        ("s", 1000),
        ("ms", 1),
    ],
    usual_unit: "s",
    example: "60s",
};

/// Size, in bytes.
const SIZE: Measure = Measure {
    units: &[
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1000),
        ("B", 1),
    ],
    usual_unit: "B",
    example: "8MiB",
};

/// Largest value in milliseconds or bytes: every one is exact in a canonical JSON number.
const VALUE_MAX: u64 = 1 << 53;

/// Why a text is not a quantity, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub(crate) struct QuantityError {
    fault: Fault,
    pub(crate) hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("has no unit")]
    NoUnit,
    #[error("is not a whole number and a unit")]
    Malformed,
    #[error("must be more than zero")]
    Zero,
    #[error("is too large")]
    TooLarge,
}

/// Reads a duration such as `60s`.
pub(crate) fn duration(text: &str) -> Result<Duration, QuantityError> {
    TIME.read(text).map(Duration::from_millis)
}

/// Reads a size such as `8MiB`, in bytes.
pub(crate) fn size_bytes(text: &str) -> Result<u64, QuantityError> {
    SIZE.read(text)
}

/// Largest price, in dollars.
const DOLLARS_MAX: u64 = 1_000_000;
/// Most digits behind the point of a price: a millionth of a dollar is the unit that is counted in.
const DECIMALS_MAX: usize = 6;

/// Reads a decimal such as `0.075` as millionths, exactly. A price is a number: its unit stands in the format.
pub(crate) fn micro_usd(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_padded = whole.len() > 1 && whole.starts_with('0');
    if !is_digits(whole) || is_padded || !is_digits(decimals) || decimals.len() > DECIMALS_MAX {
        return None;
    }
    let dollars: u64 = whole.parse().ok().filter(|dollars| *dollars <= DOLLARS_MAX)?;
    let millionths: u64 = format!("{decimals:0<DECIMALS_MAX$}").parse().ok()?;
    let price = dollars * 1_000_000 + millionths;
    (price <= DOLLARS_MAX * 1_000_000).then_some(price)
}

/// Reads a duration as the policy file writes it, such as `90d`; returns `None` for anything else.
pub fn read_duration(text: &str) -> Option<Duration> {
    duration(text).ok()
}

/// Returns the duration in the largest unit that needs no fraction.
pub(crate) fn show_duration(duration: Duration) -> String {
    TIME.show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the size in the largest unit that needs no fraction.
pub(crate) fn show_size(bytes: u64) -> String {
    SIZE.show(bytes)
}

impl Measure {
    fn read(&self, text: &str) -> Result<u64, QuantityError> {
        self.value(text).map_err(|fault| QuantityError { fault, hint: self.hint(text, fault) })
    }

    fn value(&self, text: &str) -> Result<u64, Fault> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(Fault::Malformed);
        }
        if unit.is_empty() {
            return Err(Fault::NoUnit);
        }
        let (_, factor) = self.units.iter().find(|(name, _)| *name == unit).ok_or(Fault::Malformed)?;
        let number: u64 = number.parse().map_err(|_| Fault::TooLarge)?;
        match number.checked_mul(*factor) {
            Some(0) => Err(Fault::Zero),
            Some(value) if value <= VALUE_MAX => Ok(value),
            _ => Err(Fault::TooLarge),
        }
    }

    fn hint(&self, text: &str, fault: Fault) -> String {
        let Self { units, usual_unit, example } = self;
        let units = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match fault {
            Fault::NoUnit => format!("write `{text}{usual_unit}`, or another of {units}"),
            Fault::Malformed | Fault::Zero | Fault::TooLarge => {
                format!("write it as `{example}`; the units are {units}")
            }
        }
    }

    fn show(&self, value: u64) -> String {
        let exact = self.units.iter().find(|(_, factor)| value.is_multiple_of(*factor) && value >= *factor);
        let (unit, factor) = exact.expect("the smallest unit is one, and no quantity is zero");
        format!("{}{unit}", value / factor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> Result<u64, Fault> {
        TIME.value(text)
    }

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("60s"), Ok(60_000));
        assert_eq!(millis("10m"), Ok(600_000));
        assert_eq!(millis("2h"), Ok(7_200_000));
        assert_eq!(millis("400d"), Ok(400 * 86_400_000));
        assert_eq!(millis("6y"), Ok(6 * 365 * 86_400_000));
        assert_eq!(millis("60"), Err(Fault::NoUnit));
        assert_eq!(millis("0s"), Err(Fault::Zero));
        assert_eq!(millis("99999999999999999999s"), Err(Fault::TooLarge));
        assert_eq!(millis("9999999999999999y"), Err(Fault::TooLarge));
        for text in ["", "s", "1.5m", "-1s", "+1s", "1 s", "1S", "1m30s", "١s"] {
            assert_eq!(millis(text), Err(Fault::Malformed), "{text:?}");
        }
    }

    #[test]
    fn decimal_and_binary_sizes_differ() {
        assert_eq!(SIZE.value("8MiB"), Ok(8 * 1024 * 1024));
        assert_eq!(SIZE.value("8MB"), Ok(8_000_000));
        assert_eq!(SIZE.value("1B"), Ok(1));
        assert_eq!(SIZE.value("8mb"), Err(Fault::Malformed));
    }

    #[test]
    fn a_number_without_a_unit_is_answered_with_the_usual_one() {
        assert_eq!(duration("60").unwrap_err().hint, "write `60s`, or another of y, d, h, m, s, ms");
        assert_eq!(
            size_bytes("8").unwrap_err().hint,
            "write `8B`, or another of GiB, MiB, KiB, GB, MB, kB, B"
        );
    }

    #[test]
    fn prices_are_exact_decimals() {
        assert_eq!(micro_usd("5"), Some(5_000_000));
        assert_eq!(micro_usd("5.00"), Some(5_000_000));
        assert_eq!(micro_usd("0.5"), Some(500_000));
        assert_eq!(micro_usd("0.075"), Some(75_000));
        assert_eq!(micro_usd("0.000001"), Some(1));
        assert_eq!(micro_usd("0"), Some(0), "what runs on one's own machine may cost nothing");
        assert_eq!(micro_usd("1000000"), Some(1_000_000_000_000));
        for text in ["", ".", "5.", ".5", "-1", "+1", "1e3", "05", "0.0000001", "1000000.000001", "1_0", "٥"]
        {
            assert_eq!(micro_usd(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_price_is_its_digits(whole in 0..1_000_000_u64, micro in 0..1_000_000_u64) {
            prop_assert_eq!(micro_usd(&format!("{whole}.{micro:06}")), Some(whole * 1_000_000 + micro));
        }

        #[test]
        fn what_is_shown_reads_back(value in 1..=VALUE_MAX) {
            let time = Duration::from_millis(value);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size_bytes(&show_size(value)), Ok(value));
        }
    }
}
