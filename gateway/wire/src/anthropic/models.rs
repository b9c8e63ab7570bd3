//! The answer to `GET /v1/models` for clients of this dialect, who send `anthropic-version`.

use bytes::Bytes;
use serde::Serialize;

use crate::openai::error::to_json;

/// One model that a caller may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name to send in `model`.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// When it became available, in seconds since the Unix epoch; 0 where nobody knows, as the API itself does.
    pub created_s: u64,
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Entry<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
}

/// Returns the body that lists `models` in the given order, as the one and only page.
pub fn list(models: &[Model]) -> Bytes {
    let id = |model: Option<&'_ Model>| model.map(|model| model.id.clone());
    let (first, last) = (id(models.first()), id(models.last()));
    to_json(&List {
        data: models.iter().map(entry).collect(),
        has_more: false,
        first_id: first.as_deref(),
        last_id: last.as_deref(),
    })
}

/// Returns the body that describes one model, the answer to `GET /v1/models/{id}`.
pub fn one(model: &Model) -> Bytes {
    to_json(&entry(model))
}

fn entry(model: &Model) -> Entry<'_> {
    Entry {
        kind: "model",
        id: &model.id,
        display_name: &model.display_name,
        created_at: rfc3339(model.created_s),
    }
}

/// Writes seconds since the Unix epoch as RFC 3339 has it, in UTC.
fn rfc3339(seconds: u64) -> String {
    const DAY_SECONDS: u64 = 86_400;
    let (year, month, day) = civil_date(seconds / DAY_SECONDS);
    let rest = seconds % DAY_SECONDS;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day of the Gregorian calendar, `days` after 1 January 1970.
///
/// Years are counted from 1 March, so that the day that comes and goes is the last one of its year, and in eras of 400
/// years, which are all alike.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    /// From 1 March of the year 0 to 1 January 1970.
    const EPOCH_DAYS: u64 = 719_468;
    let days = days.saturating_add(EPOCH_DAYS);
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31, 30, 31, 30, 31 days, and again: 153 in five of them.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{Model, civil_date, list, one, rfc3339};

    fn model(id: &str, created_s: u64) -> Model {
        Model { id: id.into(), display_name: id.to_uppercase(), created_s }
    }

    #[test]
    fn the_list_has_the_shape_that_clients_page_through() {
        let models = [model("qwen", 1_700_000_000), model("opus", 0)];
        insta::assert_snapshot!(
            String::from_utf8(list(&models).to_vec()).unwrap(),
            @r#"{"data":[{"type":"model","id":"qwen","display_name":"QWEN","created_at":"2023-11-14T22:13:20Z"},{"type":"model","id":"opus","display_name":"OPUS","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,"first_id":"qwen","last_id":"opus"}"#
        );
        assert_eq!(
            &one(&model("opus", 0))[..],
            br#"{"type":"model","id":"opus","display_name":"OPUS","created_at":"1970-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn no_models_is_an_empty_page() {
        assert_eq!(&list(&[])[..], br#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#);
    }

    #[test]
    fn leap_days_and_ends_of_years_are_dates_like_others() {
        let dates = [(951_782_399, "2000-02-28T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z")];
        for (seconds, date) in dates {
            assert_eq!(rfc3339(seconds), date);
        }
        assert_eq!(rfc3339(1_798_761_599), "2026-12-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let length = |year: u64, month: u64| match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut expected = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil_date(days), expected, "{days} days after the epoch");
            let (year, month, day) = expected;
            expected = match (month, day == length(year, month)) {
                (_, false) => (year, month, day + 1),
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
            };
        }
    }
}
