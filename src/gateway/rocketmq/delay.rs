//! When a message is to be delivered, by its properties (`HookUtils.handleScheduleMessage`).

use std::time::Duration;

use super::{RocketMqSettings, refusal::Refusal};
use crate::{
    base::checksum,
    wire::rocketmq::{
        ResponseCode,
        property::{self, Properties},
    },
};

/// Properties that say when, or where to then. A message that is delivered has none of them.
const OF_TIMERS: [&str; 7] = [
    property::DELAY,
    property::TIMER_DELAY_SEC,
    property::TIMER_DELAY_MS,
    property::TIMER_DELIVER_MS,
    property::TIMER_OUT_MS,
    property::REAL_TOPIC,
    property::REAL_QID,
];

/// When a message with these properties is due, in milliseconds since 1970; none if it is at once. A
/// level wins over a delay in seconds, that over one in milliseconds, that over a time.
///
/// # Errors
/// A delay that is no number, or longer than allowed.
pub(super) fn due_ms(
    settings: &RocketMqSettings,
    properties: &Properties<'_>,
    now_ms: i64,
) -> Result<Option<i64>, Refusal> {
    let level = properties.get(property::DELAY).and_then(|level| level.trim().parse().ok());
    if let Some(delay) = delay_of_level(settings, level.unwrap_or(0)) {
        return Ok(Some(now_ms + delay.as_millis() as i64));
    }
    let number =
        |name| properties.get(name).map(|text| text.trim().parse().map_err(|_| illegal(settings)));
    let after = |delay: i64, unit_ms| now_ms.saturating_add(delay.saturating_mul(unit_ms));
    let due_ms = if let Some(delay) = number(property::TIMER_DELAY_SEC) {
        after(delay?, 1_000)
    } else if let Some(delay) = number(property::TIMER_DELAY_MS) {
        after(delay?, 1)
    } else if let Some(time) = number(property::TIMER_DELIVER_MS) {
        time?
    } else {
        return Ok(None);
    };
    if due_ms.saturating_sub(now_ms) > settings.max_delay.as_millis() as i64 {
        return Err(illegal(settings));
    }
    Ok((due_ms > now_ms).then_some(due_ms))
}

/// How long a message of this level waits; levels beyond the last are the last.
pub(super) fn delay_of_level(settings: &RocketMqSettings, level: i32) -> Option<Duration> {
    let at = usize::try_from(level).ok()?.checked_sub(1)?;
    let levels = &settings.delay_levels;
    levels.get(at.min(levels.len() - 1)).copied()
}

/// Whether a property is one that a delivered message does not have.
pub(super) fn is_of_timers(name: &str) -> bool {
    OF_TIMERS.contains(&name)
}

/// The hash by which a message's timer is found again.
pub(super) fn id_hash(unique_id: &str) -> u32 {
    checksum::crc32c(unique_id.as_bytes())
}

fn illegal(settings: &RocketMqSettings) -> Refusal {
    let max_ms = settings.max_delay.as_millis();
    let remark = format!(
        "timer message illegal, the delay time should be a number and not be bigger than the max \
         delay {max_ms}ms"
    );
    Refusal::new(ResponseCode::MessageIllegal, remark)
}
