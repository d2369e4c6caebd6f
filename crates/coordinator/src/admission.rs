//! How a coordinator is taken into the cluster: its token is spent, it gets a number and what it
//! needs to know whom it belongs to.
//!
//! The KEK goes along when this member has it in a file, sealed to a key that the newcomer made for
//! this one answer: whoever holds a coordinator token may become a coordinator, and a coordinator
//! holds the KEK. A KEK from elsewhere must be there already.

use crate::{
    house::House,
    join::KEK_CONTEXT,
    pki,
    region::{Epoch, Standing},
};
use holdfast_common::{Code, Error, Name, Result, record};
use holdfast_keyring::{KekSource, grant};
use holdfast_ledger::{
    Actor,
    command::{AdmitMember, Outcome},
    row::{Duty, MemberRole, TokenKind},
};
use holdfast_runtime::{files, pki::ProvenKey};
use holdfast_wire::{parse, v1};

pub(crate) async fn admit(
    house: &House,
    request: v1::JoinMemberRequest,
) -> Result<v1::JoinMemberResponse> {
    let name: Name = request.name.parse()?;
    let region: Name = request.region.parse()?;
    let key = ProvenKey::from_request(&request.csr_der)?;
    let one_time: [u8; 32] = parse::array("the one-time key", &request.one_time_public)?;
    let token_hash = pki::usable(house, &request.token, TokenKind::Coordinator).await?;
    let sealed_kek = sealed_kek(house, &one_time)?;
    let command = AdmitMember {
        token_hash,
        name: name.clone(),
        region,
        address: request.address,
        duty: Duty::Data,
        role: if request.learner { MemberRole::Learner } else { MemberRole::Candidate },
        identity_public: *key.as_bytes(),
    };
    let Outcome::Number(node_id) = house.ledger.propose(Actor::Token, command).await? else {
        return Err(Error::new(Code::InternalBug, "a new member got no number"));
    };
    tracing::info!(member = %name, node_id, "admitted");
    let peers = house.ledger.query().members()?.into_iter().filter(|row| row.is_live());
    let standing = house.ledger.peers().standing();
    let is_first = standing.epoch == Epoch::first();
    let standing = Standing::of(standing.epoch, true);
    Ok(v1::JoinMemberResponse {
        epoch: if is_first { Vec::new() } else { record::to_bytes(&standing) }.into(),
        node_id,
        cluster: record::to_bytes(&house.ledger.query().cluster()?).into(),
        kek_source: house.kek_source.to_string(),
        sealed_kek: sealed_kek.into(),
        peers: peers
            .filter(|row| row.id != node_id)
            .map(|row| v1::MemberAddress { id: row.id, address: row.address })
            .collect(),
    })
}

fn sealed_kek(house: &House, one_time: &[u8; 32]) -> Result<Vec<u8>> {
    let (KekSource::File(path) | KekSource::PassphraseFile(path)) = &house.kek_source else {
        return Ok(Vec::new());
    };
    let kek = files::read_private(path)?;
    grant::seal_to(one_time, KEK_CONTEXT, &kek, house.entropy.as_ref())
}
