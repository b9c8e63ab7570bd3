//! What the name of a model says about its generation: how it is told to think, and what it wants back.
//!
//! From ai.google.dev, "Gemini thinking": Gemini 2.5 takes a budget (Pro 128 to 32,768 and never none, Flash at most 24,576 and
//! Flash-Lite at least 512 or none), Gemini 3 and later a level, and not both.

/// A model's generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Before 2.5: no thoughts.
    Plain,
    /// 2.5: a budget, in tokens.
    Budget {
        /// Fewest tokens; 0 if it can be told not to think.
        least: u32,
        /// Most tokens.
        most: u32,
    },
    /// 3 and later, and every name that does not tell.
    Level {
        /// Whether it knows the level below `LOW`.
        has_minimal: bool,
    },
}

impl Version {
    /// Reads the name of a model, such as `gemini-2.5-flash` or `models/gemini-3.1-pro-preview`.
    pub(super) fn of(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        let number = model.split_once("gemini-").map(|(_, rest)| rest).unwrap_or_default();
        if number.starts_with("1.") || number.starts_with("2.0") {
            Self::Plain
        } else if number.starts_with("2.") {
            let is_flash = model.contains("flash");
            Self::Budget {
                least: if is_flash { 0 } else { 128 },
                most: if is_flash { 24_576 } else { 32_768 },
            }
        } else {
            Self::Level { has_minimal: model.contains("flash") }
        }
    }

    /// Returns whether calls of functions have signatures and ids, and results may hold pictures.
    pub(super) fn is_3(self) -> bool {
        matches!(self, Self::Level { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn the_name_of_a_model_tells_its_generation() {
        let check = |model, version| assert_eq!(Version::of(model), version, "{model}");
        check("gemini-1.5-pro", Version::Plain);
        check("gemini-2.0-flash", Version::Plain);
        check("models/gemini-2.5-pro", Version::Budget { least: 128, most: 32_768 });
        check("gemini-2.5-flash-lite", Version::Budget { least: 0, most: 24_576 });
        check("gemini-3-flash-preview", Version::Level { has_minimal: true });
        check("gemini-3.1-pro-preview", Version::Level { has_minimal: false });
        check("gemini-flash-latest", Version::Level { has_minimal: true });
        check("projects/p/locations/l/endpoints/7", Version::Level { has_minimal: false });
    }
}
