//! `vfioctl login`, `logout` and `whoami`: getting to know a cluster, once.
//!
//! Whom to trust must come to the user by another way than from the host itself: as a file, as a
//! fingerprint, or by comparing the fingerprint that is shown. Before that is settled, no token is
//! sent anywhere.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use super::secret::read_secret;
use crate::Done;
use crate::cluster::{
    Access, Authority, ClusterFile, Host, Places, Times, Token, read_authority,
    read_authority_unproved, read_text,
};
use crate::command_line::{Login, Logout};
use crate::failure::{Failure, FailureKind};
use crate::limits;
use crate::output::Output;
use crate::record::LoginRecord;
use crate::session::Session;
use crate::verdict::Verdict;

/// Somebody who can be asked, or who is not there.
trait Person {
    /// Whether there is one.
    fn is_there(&self) -> bool;

    /// Asks for a line.
    fn line(&mut self) -> io::Result<String>;

    /// Asks for a line that is not shown; where nobody is there, standard input has it. None: they
    /// do not want to say it.
    fn secret(&mut self) -> io::Result<Option<String>>;
}

/// Who sits at the terminal.
struct Live;

impl Person for Live {
    fn is_there(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    }

    fn secret(&mut self) -> io::Result<Option<String>> {
        read_secret()
    }
}

/// Answers `vfioctl login`.
pub(super) fn login(arguments: &Login, session: &mut Session<'_>) -> Done {
    log_in(arguments, &Places::live(), &mut Live, &mut session.output)
}

fn log_in(
    arguments: &Login,
    places: &Places,
    person: &mut dyn Person,
    output: &mut Output<'_>,
) -> Done {
    let path = file(arguments.cluster.as_ref(), places)?;
    let authority = find_authority(arguments, &path, person, output)?;
    let token = find_token(arguments, person, output)?;
    let access = Access {
        host: arguments.host.clone(),
        authority,
        token,
        file: Some(path.clone()),
    };
    let host = Host::new(access.clone(), Times::CALL);
    let me = host.me()?;
    let file = ClusterFile {
        host: access.host.clone(),
        authority: access.authority.clone(),
        token: access.token.clone(),
    };
    file.write(&path)?;
    output.answer(&LoginRecord::of(me, &access))?;
    Ok(Verdict::Yes)
}

/// Answers `vfioctl logout`.
pub(super) fn logout(arguments: &Logout, session: &mut Session<'_>) -> Done {
    log_out(arguments, &Places::live(), &mut session.output)
}

fn log_out(arguments: &Logout, places: &Places, output: &mut Output<'_>) -> Done {
    let path = file(arguments.cluster.as_ref(), places)?;
    let is_forgotten = ClusterFile::remove(&path)?;
    let forgotten = is_forgotten.then(|| path.display().to_string());
    output.answer(&LoginRecord::Out { forgotten })?;
    Ok(Verdict::Yes)
}

/// Answers `vfioctl whoami`.
pub(super) fn whoami(host: &Host, session: &mut Session<'_>) -> Done {
    let me = host.me()?;
    session.output.answer(&LoginRecord::of(me, host.access()))?;
    Ok(Verdict::Yes)
}

fn file(named: Option<&PathBuf>, places: &Places) -> Result<PathBuf, Failure> {
    let path = named.cloned().or_else(|| places.login_file());
    path.ok_or_else(|| {
        Failure::could_not(
            "CannotWrite",
            "there is no place for what is known of a cluster",
        )
        .because("you have no home")
        .hint("name a file with --cluster")
    })
}

/// Finds out whom to trust.
fn find_authority(
    arguments: &Login,
    path: &std::path::Path,
    person: &mut dyn Person,
    output: &mut Output<'_>,
) -> Result<Authority, Failure> {
    if let Some(path) = &arguments.authority {
        return read_authority(path);
    }
    if let Some(expected) = arguments.fingerprint {
        let authority = read_authority_unproved(&arguments.host)?;
        let found = authority.fingerprint();
        return match found == expected {
            true => Ok(authority),
            false => Err(Failure::could_not(
                "HostNotTrusted",
                format!("the authority that {} tells is another one", arguments.host),
            )
            .because(format!("its fingerprint is {found}"))
            .hint("ask the cluster's administrator for the fingerprint")),
        };
    }
    // Whom one has trusted before needs no second look, and nobody else gets a first one.
    let known = ClusterFile::read(path).ok().flatten();
    if let Some(known) = known.filter(|known| known.host == arguments.host) {
        return Ok(known.authority);
    }
    let authority = read_authority_unproved(&arguments.host)?;
    confirm(arguments, &authority, person, output)?;
    Ok(authority)
}

fn confirm(
    arguments: &Login,
    authority: &Authority,
    person: &mut dyn Person,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let fingerprint = authority.fingerprint();
    let not_asked = |because: String| {
        Failure::could_not(
            "NotAsked",
            format!("nobody says whether to trust {}", arguments.host),
        )
        .because(because)
        .hint(format!(
            "compare the fingerprint with the administrator's; if it is {fingerprint}, add \
                 '--fingerprint {fingerprint}'"
        ))
    };
    if output.is_json() || !person.is_there() {
        return Err(not_asked(match output.is_json() {
            true => "the answer is for a program".to_owned(),
            false => "there is no terminal".to_owned(),
        }));
    }
    output.say(&format!(
        "{} says that its cluster's authority has the certificate with the SHA-256 fingerprint\n  \
         {fingerprint}\ntype 'yes' if that is what its administrator told you: ",
        arguments.host
    ));
    let line = person
        .line()
        .map_err(|error| not_asked(error.to_string()))?;
    match line.trim() {
        "yes" => Ok(()),
        _ => Err(declined("the answer was not 'yes'; nothing was sent there")),
    }
}

fn declined(what: &str) -> Failure {
    Failure::new(FailureKind::No, "Declined", what)
}

/// Gets the token.
fn find_token(
    arguments: &Login,
    person: &mut dyn Person,
    output: &mut Output<'_>,
) -> Result<Token, Failure> {
    let cannot = |what: &str, because: String| {
        Failure::could_not("CannotRead", what)
            .because(because)
            .hint("ask an administrator for a token: 'vfioctl user token USER'")
    };
    let text = match &arguments.token_file {
        Some(path) => read_text(path, limits::CLUSTER_FILE).map_err(|error| {
            cannot(
                &format!("cannot read the token in '{}'", path.display()),
                error.to_string(),
            )
        })?,
        None => {
            if person.is_there() {
                output.say("token: ");
            }
            let read = person.secret();
            let read = read.map_err(|error| cannot("cannot read the token", error.to_string()))?;
            read.ok_or_else(|| declined("no token was given; nothing was written"))?
        }
    };
    let parsed = text.trim().parse();
    parsed.map_err(|error: crate::cluster::InvalidToken| {
        cannot("what was given as token is none", error.to_string())
    })
}

#[cfg(test)]
mod tests;
