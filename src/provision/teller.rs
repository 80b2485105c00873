//! What a person sees of the work: one line for each step, with its time.
//!
//! On a terminal the step under way is shown too, and its line is written over when it is done.

use std::io::{self, Write};

use tokio::time::Instant;

use crate::surroundings::Stream;

/// Tells the steps to one stream.
pub struct Teller {
    out: Box<dyn Write + Send>,
    stream: Stream,
    begun: Option<(String, Instant)>,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

impl Teller {
    /// Returns one that tells to `out`, which is such a stream.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, stream: Stream) -> Self {
        Self {
            out,
            stream,
            begun: None,
        }
    }

    /// Returns one that tells to standard error.
    #[must_use]
    pub fn stderr(stream: Stream) -> Self {
        Self::new(Box::new(io::stderr()), stream)
    }

    /// Tells a line.
    pub fn say(&mut self, text: &str) {
        self.line(format_args!("{text}"));
    }

    /// Tells that a step begins.
    pub fn begin(&mut self, step: &str) {
        self.begun = Some((step.to_owned(), Instant::now()));
        if self.stream == Stream::Terminal {
            // Nobody is left to tell when standard error is gone.
            drop(write!(self.out, "\r\x1b[K           {step} …").and_then(|()| self.out.flush()));
        }
    }

    /// Tells that the step is done; `more` is what came of it, where that is worth a word.
    pub fn done(&mut self, more: Option<&str>) {
        let Some((step, begun)) = self.begun.take() else {
            return;
        };
        let seconds = begun.elapsed().as_secs_f64();
        let more = more.map_or_else(String::new, |more| format!(": {more}"));
        self.line(format_args!("  {seconds:>6.1} s  {step}{more}"));
    }

    /// Forgets the step under way: it failed, and the error tells of it.
    pub fn failed(&mut self) {
        if let Some((step, _)) = self.begun.take() {
            self.line(format_args!("  failed    {step}"));
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let clear = match self.stream {
            Stream::Terminal => "\r\x1b[K",
            Stream::Other => "",
        };
        drop(writeln!(self.out, "{clear}{text}").and_then(|()| self.out.flush()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(stream: Stream) -> String {
        let shared = Shared::default();
        let mut teller = Teller::new(Box::new(shared.clone()), stream);
        teller.say("making my-site");
        teller.begin("make the app");
        teller.done(Some("my-site"));
        teller.begin("make the volume");
        teller.failed();
        teller.done(None);
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_is_one_line_with_its_time() {
        assert_eq!(
            told(Stream::Other),
            "making my-site\n     0.0 s  make the app: my-site\n  failed    make the volume\n"
        );
        assert!(told(Stream::Terminal).contains("\r\x1b[K           make the volume …"));
    }
}
