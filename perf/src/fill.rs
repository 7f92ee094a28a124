//! What a broker just started is given before it is measured.
//!
//! Whatever it writes first touches memory for the first time: its own, or the page cache's. The
//! kernel has to find and clear each of these pages, and in a virtual machine the host does too,
//! which can cost several times the work itself. Brokers that have run for a while have that behind
//! them, so their figures are taken after it.

use crate::error::Result;
use crate::measurement::{Target, carry_out};
use crate::workload::{Protocol, Workload};

/// Bytes of each record.
const RECORD_BYTES: u64 = 1024;

/// Has a broker that runs hold as many bytes of this kind as a workload asks for: what was written
/// for those before it counts. A broker of the workload's own is filled by whoever starts it.
///
/// # Errors
/// The broker did not take all of them.
pub fn fill_for(workload: &Workload, target: &mut Target, say: &dyn Fn(&str)) -> Result<()> {
    let Target::Running { address, filled_bytes, .. } = target else { return Ok(()) };
    let missing = workload.fill_bytes.saturating_sub(*filled_bytes);
    if missing > 0 {
        say(&format!("filling the broker with {:.1} GB before", missing as f64 / 1e9));
        fill(workload.protocol(), address, missing)?;
        *filled_bytes += missing;
    }
    Ok(())
}

/// Writes so many bytes, in whole batches, into a topic of their own.
///
/// # Errors
/// The broker did not take all of them.
pub fn fill(protocol: Protocol, address: &str, bytes: u64) -> Result<()> {
    match bytes {
        0 => Ok(()),
        _ => carry_out(&filling(protocol, bytes), &unmeasured(address)),
    }
}

/// Without the broker's process: nothing of this counts.
fn unmeasured(address: &str) -> Target {
    Target::Running { address: address.to_owned(), pid: None, filled_bytes: 0 }
}

/// The raw generator's work, the same for every system.
fn filling(protocol: Protocol, bytes: u64) -> Workload {
    let how = match protocol {
        Protocol::Kafka => "options = [\"produce\", \"--batch-bytes\", \"1048576\"]",
        // As many at a time as the batch producer of RocketMQ's benchmark programs sends.
        Protocol::Rocketmq => {
            "protocol = \"rocketmq\"\n\
             options = [\"rocketmq-send\", \"--in-flight\", \"4\", \"--batch-messages\", \"32\"]"
        }
    };
    let records = bytes.div_ceil(RECORD_BYTES);
    let text = format!(
        "name = \"fill\"\nshows = \"\"\nsource = \"raw\"\nsystems = [\"mainstem\"]\n\
         producers = 1\nrecord_bytes = {RECORD_BYTES}\nrecords = {records}\n\
         read_back = false\n{how}\n"
    );
    Workload::parse("fill", &text, false, &[]).expect("the fill is right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_is_filled_by_the_same_command_which_measures_none_of_it() {
        let command = |protocol, bytes| {
            let arguments = filling(protocol, bytes).arguments(&unmeasured("host:1"), None);
            arguments.expect("it runs there").join(" ")
        };
        assert_eq!(
            command(Protocol::Kafka, 4_000_000_000),
            "raw produce --batch-bytes 1048576 --topic fill --topics 1 --partitions 6 \
             --record-bytes 1024 --no-read-back --records 3906250 --brokers host:1"
        );
        assert_eq!(
            command(Protocol::Rocketmq, 1),
            "raw rocketmq-send --in-flight 4 --batch-messages 32 --topic fill --topics 1 \
             --queues 6 --message-bytes 1024 --no-read-back --records 1 --namesrv host:1"
        );
    }

    #[test]
    fn what_was_filled_before_counts_and_what_failed_does_not() {
        let text = "name = \"a\"\nshows = \"b\"\nsystems = [\"kafka\"]\nproducers = 1\n\
                    records = 1\nfill_bytes = 5_000_000_000\n";
        let workload = Workload::parse("a.toml", text, false, &[]).expect("right");
        let outcome = |filled_bytes| {
            let mut target = Target::Running { address: "none".into(), pid: None, filled_bytes };
            let said = std::cell::RefCell::new(String::new());
            // The process it starts is this test's program, which fills nothing.
            let done =
                fill_for(&workload, &mut target, &|step| step.clone_into(&mut said.borrow_mut()));
            let Target::Running { filled_bytes, .. } = target else { panic!("it was running") };
            (done.is_ok(), filled_bytes, said.into_inner())
        };
        assert_eq!(outcome(5_000_000_000), (true, 5_000_000_000, String::new()));
        let (done, filled, said) = outcome(4_000_000_000);
        assert!(!done && filled == 4_000_000_000 && said.contains("1.0 GB"), "{said}");
    }
}
