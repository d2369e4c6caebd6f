//! Trades a coordinator token for a place in the cluster: the token is spent and the member has an
//! id, or neither.

use super::{Apply, Outcome, conflict, enrol_agent::usable_token};
use crate::{
    Actor,
    level::{KEPT_KEYS, LEVEL_FIRST, insist_on_known},
    row::{Duty, MemberRole, MemberRow, MemberState, TokenKind, TokenRow, member::check_address},
    tables::Table,
};
use holdfast_common::{Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct AdmitMember {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub token_hash: [u8; 32],
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub region: Name,
    #[n(3)]
    pub address: String,
    #[n(4)]
    pub duty: Duty,
    /// The role that is wanted once it has caught up.
    #[n(5)]
    pub role: MemberRole,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub identity_public: [u8; 32],
    /// The highest level that it knows; the first one, where it does not say.
    #[n(7)]
    pub level_max: Option<u32>,
}

impl AdmitMember {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if *apply.actor != Actor::Token {
            return Err(Error::new(Code::AuthDenied, "a member is admitted by its token"));
        }
        let token = usable_token(apply, &self.token_hash, self.token_kind())?;
        check_address(&self.address)?;
        insist_on_known(apply.level()?, self.level_max.unwrap_or(LEVEL_FIRST))?;
        self.insist_on_room(apply)?;
        let Some(id) = apply.next_member()? else {
            return Err(conflict("this cluster does not know its own first member")
                .next("make a new cluster with `holdfast cluster init`"));
        };
        apply.tables.put(&TokenRow { used_by_member: Some(id), ..token })?;
        apply.add_member(&MemberRow {
            id,
            name: self.name.clone(),
            region: self.region.clone(),
            address: self.address.clone(),
            duty: self.duty,
            role: self.role,
            state: MemberState::Joined,
            joined: apply.time,
            identity_public: self.identity_public,
            keeps_key: (apply.level()? >= KEPT_KEYS).then_some(true),
        })?;
        Ok(Outcome::Number(id))
    }

    /// A witness is admitted by a token that admits nobody else, too.
    fn token_kind(&self) -> TokenKind {
        match self.duty {
            Duty::Data => TokenKind::Coordinator,
            Duty::Witness => TokenKind::Witness,
        }
    }

    fn insist_on_room(&self, apply: &Apply<'_, '_>) -> Result<()> {
        if apply.tables.raw(Table::MemberName, self.name.as_str().as_bytes())?.is_some() {
            return Err(conflict(format!("the cluster has a member called `{}`", self.name))
                .next("choose another name, or remove the old member first"));
        }
        if apply.live_members()?.len() >= limits::MEMBERS_MAX {
            let message = format!("the cluster has {} members already", limits::MEMBERS_MAX);
            return Err(Error::new(Code::LimitExceeded, message)
                .next("remove one first: `holdfast cluster remove NAME`"));
        }
        Ok(())
    }
}
