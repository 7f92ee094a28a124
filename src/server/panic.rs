//! A broken invariant ends the process, in every build and on whatever thread.

use std::{panic, process};

/// From now on a panic of any thread is told on standard error, with its place, and aborts the
/// process. Without that, a build that unwinds would go on without one of its threads, and everybody
/// would wait for it.
pub fn abort_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tell(info);
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
        thread,
    };

    use super::*;

    /// Makes this program's child process panic.
    const CHILD: &str = "MAINSTEM_TEST_PANICS";

    #[test]
    fn a_panic_of_any_thread_aborts_the_process() {
        const NAME: &str = "server::panic::tests::a_panic_of_any_thread_aborts_the_process";
        if env::var_os(CHILD).is_some() {
            abort_on_panic();
            let thread = thread::Builder::new().name("shard-7".to_owned());
            let _ = thread.spawn(|| panic!("an invariant is broken")).unwrap().join();
            return;
        }
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").stdin(Stdio::null());
        let output = child.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(6), "{}: {errors}", output.status);
        assert!(
            errors.contains("'shard-7'") && errors.contains("an invariant is broken"),
            "{errors}"
        );
    }
}
