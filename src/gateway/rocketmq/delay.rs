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

/// Properties that say when, or where to then. A message that waited for its level has none of them.
const OF_TIMERS: [&str; 7] = [
    property::DELAY,
    property::TIMER_DELAY_SEC,
    property::TIMER_DELAY_MS,
    property::TIMER_DELIVER_MS,
    property::TIMER_OUT_MS,
    property::REAL_TOPIC,
    property::REAL_QID,
];

/// Those that no message is delivered with.
const NEVER_DELIVERED: [&str; 3] = [property::DELAY, property::REAL_TOPIC, property::REAL_QID];

/// What a message's properties say of when it is to be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// When it is due, in milliseconds since 1970; none if it is at once.
    pub due_ms: Option<i64>,
    by_level: bool,
}

impl Schedule {
    /// A level wins over a delay in seconds, that over one in milliseconds, that over a time. What says
    /// that it was due once is not timed again.
    ///
    /// # Errors
    /// A delay that is no number, or longer than allowed.
    pub(super) fn of(
        settings: &RocketMqSettings,
        properties: &Properties<'_>,
        now_ms: i64,
    ) -> Result<Self, Refusal> {
        let level = properties.get(property::DELAY).and_then(|level| level.trim().parse().ok());
        if let Some(delay) = delay_of_level(settings, level.unwrap_or(0)) {
            let due_ms = Some(now_ms + delay.as_millis() as i64);
            return Ok(Self { due_ms, by_level: true });
        }
        let due_ms = time(settings, properties, now_ms)?.filter(|due_ms| *due_ms > now_ms);
        Ok(Self { due_ms, by_level: false })
    }

    /// Whether the message is delivered with one of the properties it was sent with: without those of
    /// timers if it had a level (`ScheduleMessageService.messageTimeUp`), else with the time it was
    /// sent with (`TimerMessageStore.convertMessage`).
    pub(super) fn keeps(self, name: &str) -> bool {
        if self.by_level { !is_of_timers(name) } else { !NEVER_DELIVERED.contains(&name) }
    }

    /// The same for a message that does not wait, whatever it says.
    pub(super) fn at_once(self) -> Self {
        Self { due_ms: None, ..self }
    }

    /// What the message is delivered with as [`property::TIMER_OUT_MS`].
    pub(super) fn out_ms(self) -> Option<i64> {
        self.due_ms.filter(|_| !self.by_level)
    }
}

/// The time that properties without a level name, if they do.
fn time(
    settings: &RocketMqSettings,
    properties: &Properties<'_>,
    now_ms: i64,
) -> Result<Option<i64>, Refusal> {
    if properties.get(property::TIMER_OUT_MS).is_some() {
        return Ok(None);
    }
    let number =
        |name| properties.get(name).map(|text| text.trim().parse().map_err(|_| illegal(settings)));
    let after = |delay: i64, unit_ms| now_ms.saturating_add(delay.saturating_mul(unit_ms));
    let time_ms = if let Some(delay) = number(property::TIMER_DELAY_SEC) {
        after(delay?, 1_000)
    } else if let Some(delay) = number(property::TIMER_DELAY_MS) {
        after(delay?, 1)
    } else if let Some(time) = number(property::TIMER_DELIVER_MS) {
        time?
    } else {
        return Ok(None);
    };
    if properties.get(property::TIMER_DEL_UNIQKEY).is_some() {
        let remark =
            "no message is cancelled by TIMER_DEL_UNIQKEY: recall it (RECALL_MESSAGE, 370)";
        return Err(Refusal::new(ResponseCode::MessageIllegal, remark));
    }
    if time_ms.saturating_sub(now_ms) > settings.max_delay.as_millis() as i64 {
        return Err(illegal(settings));
    }
    Ok(Some(time_ms))
}

/// How long a message of this level waits; levels beyond the last are the last.
pub(super) fn delay_of_level(settings: &RocketMqSettings, level: i32) -> Option<Duration> {
    let at = usize::try_from(level).ok()?.checked_sub(1)?;
    let levels = &settings.delay_levels;
    levels.get(at.min(levels.len() - 1)).copied()
}

/// Whether a property says when a message is delivered, or where to then.
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
