//! The options of recognition as arguments: `--lm-weight 0.2` is `svtrv2.lm_weight`.

use clap::{Arg, ArgMatches, Command, Error, FromArgMatches, error::ErrorKind};
use datafusion::config::ExtensionOptions;
use svtrv2_datafusion::ReadOptions;

/// An argument for every option.
#[derive(Clone, Default)]
pub struct RecognitionArguments {
    pub options: ReadOptions,
}

impl clap::Args for RecognitionArguments {
    fn augment_args(command: Command) -> Command {
        ReadOptions::keys().fold(command, |command, (name, about)| {
            let arg = Arg::new(name).long(name.replace('_', "-")).help(about).value_name("VALUE");
            command.arg(arg.help_heading("Recognition").allow_hyphen_values(true))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RecognitionArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut arguments = Self::default();
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for (name, _) in ReadOptions::keys() {
            if let Some(value) = matches.get_one::<String>(name) {
                let wrong = |error| Error::raw(ErrorKind::InvalidValue, format!("{error}\n"));
                self.options.set(name, value).map_err(wrong)?;
            }
        }
        Ok(())
    }
}
