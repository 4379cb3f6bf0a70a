//! People: users, their roles, their tokens, and nodes that shall join.

use vfioctl_api::{
    AddUser, JoinToken, JoinTokenRequest, Moment, NewToken, NodeName, Problem, ProblemCode, Role,
    TokenRequest, TokenView, User, UserName,
};
use vfioctl_store::Transaction;

use super::{Cluster, Enrolled, to_json};
use crate::access::{JoinRecord, TokenRecord, TokenText, UserRecord, digest};
use crate::keys;
use crate::limits::{JOIN_TIME, MAX_JOIN_TIME, MAX_NODES, MAX_NOTE, MAX_TOKENS_A_USER, MAX_USERS};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name.
    pub user: UserName,
    /// What the user may.
    pub role: Role,
}

impl Caller {
    /// Whether the caller may end what belongs to somebody.
    pub(crate) fn may_change(&self, owner: &UserName) -> bool {
        self.role >= Role::Operator || (self.role >= Role::User && self.user == *owner)
    }
}

impl Cluster {
    /// Who holds a token.
    ///
    /// # Errors
    /// Where it is none, or one no longer.
    pub(crate) fn authenticate(&self, token: &str) -> Result<Caller, Problem> {
        let refused = || {
            Problem::new(
                ProblemCode::NotAuthenticated,
                "the token is not one of this cluster, or is one no longer",
            )
            .hint("log in with 'vfioctl login', with a token that an administrator gives you")
        };
        let token = TokenText::parse(token).ok_or_else(refused)?;
        let state = self.mirror.read();
        let record = &state.tokens.get(token.id).ok_or_else(refused)?.value;
        let is_it = digest(token.secret.as_bytes()) == record.digest;
        let is_over = record.expires.is_some_and(|expires| expires <= self.now());
        if !is_it || is_over {
            return Err(refused());
        }
        let user = &state.users.get(&record.user).ok_or_else(refused)?.value;
        Ok(Caller {
            user: record.user.clone(),
            role: user.role,
        })
    }

    /// All users.
    pub fn users(&self) -> Vec<User> {
        let state = self.mirror.read();
        let users = state.users.iter().map(|(name, kept)| User {
            name: name.clone(),
            role: kept.value.role,
            created: kept.value.created,
            tokens: self.tokens_of(&state, name),
        });
        users.collect()
    }

    fn tokens_of(&self, state: &crate::mirror::State, user: &UserName) -> Vec<TokenView> {
        let own = state
            .tokens
            .iter()
            .filter(|(_, kept)| kept.value.user == *user);
        let mut tokens: Vec<TokenView> = own.map(|(id, kept)| kept.value.view(id)).collect();
        tokens.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        tokens
    }

    /// Adds a user.
    ///
    /// # Errors
    /// Where there is one of that name.
    pub async fn add_user(&self, add: &AddUser) -> Result<User, Problem> {
        if self.mirror.read().users.len() >= MAX_USERS {
            let message = format!("there are {MAX_USERS} users, and there may be no more");
            return Err(Problem::new(ProblemCode::TooMuch, message));
        }
        let record = UserRecord {
            role: add.role,
            created: self.now(),
        };
        let key = keys::user(&add.name);
        let transaction = Transaction::new()
            .if_absent(&key)
            .put(&key, to_json(&record)?);
        if !self.write(transaction, &[key]).await? {
            let message = format!("there is a user '{}' already", add.name);
            return Err(Problem::new(ProblemCode::Exists, message).hint("choose another name"));
        }
        Ok(User {
            name: add.name.clone(),
            role: record.role,
            created: record.created,
            tokens: Vec::new(),
        })
    }

    /// Removes a user, and every token of theirs. Their tasks go on.
    ///
    /// # Errors
    /// Where there is none, or it is the last administrator.
    pub async fn remove_user(&self, name: &UserName) -> Result<(), Problem> {
        let (role, tokens, admins) = {
            let state = self.mirror.read();
            let user = state.users.get(name).ok_or_else(|| no_user(name))?;
            let admins = state
                .users
                .values()
                .filter(|kept| kept.value.role == Role::Admin)
                .count();
            (user.value.role, self.tokens_of(&state, name), admins)
        };
        if role == Role::Admin && admins <= 1 {
            let message = format!("'{name}' is the last administrator");
            return Err(
                Problem::new(ProblemCode::WrongState, message).hint("add another one first")
            );
        }
        let mut keys_of_tokens: Vec<_> = tokens
            .iter()
            .filter_map(|token| keys::made("tokens", &token.id))
            .collect();
        let mut transaction = Transaction::new().delete(&keys::user(name));
        for key in &keys_of_tokens {
            transaction = transaction.delete(key);
        }
        keys_of_tokens.push(keys::user(name));
        self.write(transaction, &keys_of_tokens).await.map(drop)
    }

    /// Makes a token for a user. It is told once, and kept nowhere: the store has what proves it.
    ///
    /// # Errors
    /// Where there is no such user, or they have too many.
    pub async fn add_token(
        &self,
        user: &UserName,
        request: &TokenRequest,
    ) -> Result<NewToken, Problem> {
        check_note(request.note.as_deref())?;
        {
            let state = self.mirror.read();
            if !state.users.contains_key(user) {
                return Err(no_user(user));
            }
            if self.tokens_of(&state, user).len() >= MAX_TOKENS_A_USER {
                let message =
                    format!("'{user}' has {MAX_TOKENS_A_USER} tokens, and nobody may have more");
                return Err(Problem::new(ProblemCode::TooMuch, message).hint("revoke some first"));
            }
        }
        let text = TokenText::make(&self.random_bytes(), &self.random_bytes());
        let token = TokenText::parse(&text)
            .ok_or_else(|| Problem::new(ProblemCode::Internal, "a token could not be made"))?;
        let record = TokenRecord {
            user: user.clone(),
            digest: digest(token.secret.as_bytes()),
            note: request.note.clone(),
            created: self.now(),
            expires: request
                .valid_s
                .map(|seconds| self.now().saturating_add(seconds.saturating_mul(1000))),
        };
        let key = keys::made("tokens", token.id)
            .ok_or_else(|| Problem::new(ProblemCode::Internal, "a token could not be named"))?;
        let transaction = Transaction::new()
            .if_absent(&key)
            .put(&key, to_json(&record)?);
        self.write(transaction, &[key]).await?;
        Ok(NewToken {
            view: record.view(token.id),
            user: user.clone(),
            token: text.clone(),
        })
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// Where there is none, or it is of somebody else and the caller is no administrator.
    pub async fn remove_token(&self, caller: &Caller, id: &str) -> Result<(), Problem> {
        let not_found = || {
            Problem::new(
                ProblemCode::NotFound,
                format!("there is no token '{}'", id.escape_debug()),
            )
        };
        let owner = self
            .mirror
            .read()
            .tokens
            .get(id)
            .map(|kept| kept.value.user.clone());
        let is_own = owner.as_ref() == Some(&caller.user);
        if owner.is_none() || (!is_own && caller.role < Role::Admin) {
            // Whether others have one of that name is nobody's business.
            return Err(not_found());
        }
        let key = keys::made("tokens", id).ok_or_else(not_found)?;
        self.write(Transaction::new().delete(&key), &[key])
            .await
            .map(drop)
    }

    /// Makes a token with which a node can join, once. A node of that name that is there is replaced
    /// when the token is used.
    ///
    /// # Errors
    /// Where the cluster has too many nodes.
    pub(crate) async fn invite(
        &self,
        request: &JoinTokenRequest,
        fingerprint: &str,
    ) -> Result<JoinToken, Problem> {
        let state = self.mirror.read().nodes.len();
        if state >= MAX_NODES {
            let message = format!("there are {MAX_NODES} nodes, and there may be no more");
            return Err(Problem::new(ProblemCode::TooMuch, message));
        }
        let longest = MAX_JOIN_TIME.as_secs();
        let valid_s = request.valid_s.unwrap_or(JOIN_TIME.as_secs());
        if !(1..=longest).contains(&valid_s) {
            let message = format!("{valid_s} seconds are outside 1 to {longest}");
            return Err(Problem::new(ProblemCode::BadRequest, message));
        }
        let text = TokenText::make(&self.random_bytes(), &self.random_bytes());
        let internal = || Problem::new(ProblemCode::Internal, "a token could not be made");
        let token = TokenText::parse(&text).ok_or_else(internal)?;
        let record = JoinRecord {
            node: request.node.clone(),
            digest: digest(token.secret.as_bytes()),
            expires: self.now().saturating_add(valid_s.saturating_mul(1000)),
        };
        let key = keys::made("joins", token.id).ok_or_else(internal)?;
        let transaction = Transaction::new()
            .if_absent(&key)
            .put(&key, to_json(&record)?);
        self.write(transaction, &[key]).await?;
        Ok(JoinToken {
            node: record.node,
            token: format!("{text}.{fingerprint}"),
            expires: record.expires,
        })
    }

    /// The node that a token to join is for.
    ///
    /// # Errors
    /// Where it is none, or one no longer.
    pub(crate) fn invited(&self, token: &str) -> Result<NodeName, Problem> {
        self.find_invitation(token).map(|(_, record)| record.node)
    }

    fn find_invitation(&self, token: &str) -> Result<(String, JoinRecord), Problem> {
        let refused = || {
            Problem::new(
                ProblemCode::NotAuthenticated,
                "the token to join is none, was used, or is one no longer",
            )
            .hint("ask an administrator for another: 'vfioctl node invite NAME'")
        };
        // The fingerprint behind the dot is for the node, which knows by it whom to trust.
        let text = token.split('.').next().unwrap_or_default();
        let token = TokenText::parse(text).ok_or_else(refused)?;
        let state = self.mirror.read();
        let record = &state.joins.get(token.id).ok_or_else(refused)?.value;
        let is_it = digest(token.secret.as_bytes()) == record.digest;
        if is_it && record.expires > self.now() {
            Ok((token.id.to_owned(), record.clone()))
        } else {
            Err(refused())
        }
    }

    /// Lets a node in, by its token, which is none after that.
    ///
    /// # Errors
    /// Where the token is none; and where it was used at this very moment.
    pub(crate) async fn enrol(&self, token: &str, certificate: &str) -> Result<NodeName, Problem> {
        let (id, record) = self.find_invitation(token)?;
        let internal = || Problem::new(ProblemCode::Internal, "a token could not be named");
        let join = keys::made("joins", &id).ok_or_else(internal)?;
        let revision = self
            .mirror
            .read()
            .joins
            .get(&id)
            .map_or(0, |kept| kept.revision);
        let node = keys::node(&record.node);
        let enrolled = Enrolled {
            certificate: certificate.to_owned(),
            since: self.now(),
        };
        let transaction = Transaction::new()
            .if_unchanged(&join, revision)
            .delete(&join)
            .put(&node, to_json(&enrolled)?);
        if self.write(transaction, &[join, node]).await? {
            return Ok(record.node);
        }
        let message = "the token to join was used at this very moment";
        Err(Problem::new(ProblemCode::NotAuthenticated, message))
    }

    /// Lets a node in without a token, for one that is set up with its host.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn add_node(&self, node: &NodeName, certificate: &str) -> Result<(), Problem> {
        let key = keys::node(node);
        let enrolled = Enrolled {
            certificate: certificate.to_owned(),
            since: self.now(),
        };
        let transaction = Transaction::new().put(&key, to_json(&enrolled)?);
        self.write(transaction, &[key]).await.map(drop)
    }

    /// Forgets tokens that are none any more.
    pub(super) async fn forget_expired(&self, now: Moment) {
        let keys: Vec<_> = {
            let state = self.mirror.read();
            let is_over =
                |expires: Option<Moment>| expires.is_some_and(|expires| expires + DAY_MS < now);
            let tokens = state
                .tokens
                .iter()
                .filter(|(_, kept)| is_over(kept.value.expires));
            let joins = state
                .joins
                .iter()
                .filter(|(_, kept)| is_over(Some(kept.value.expires)));
            let tokens = tokens.filter_map(|(id, _)| keys::made("tokens", id));
            tokens
                .chain(joins.filter_map(|(id, _)| keys::made("joins", id)))
                .take(Transaction::MAX_LEN)
                .collect()
        };
        if keys.is_empty() {
            return;
        }
        let transaction = keys.iter().fold(Transaction::new(), |transaction, key| {
            transaction.delete(key)
        });
        // What is not forgotten now is none all the same.
        let _ = self.write(transaction, &keys).await;
    }
}

/// A token that is none any more is still told as such for a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

fn no_user(name: &UserName) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is no user '{name}'"))
        .hint("see 'vfioctl user list'")
}

fn check_note(note: Option<&str>) -> Result<(), Problem> {
    match note {
        Some(note) if note.len() > MAX_NOTE || note.chars().any(char::is_control) => {
            let message = format!("a note has at most {MAX_NOTE} bytes and no control characters");
            Err(Problem::new(ProblemCode::BadRequest, message))
        }
        _ => Ok(()),
    }
}
