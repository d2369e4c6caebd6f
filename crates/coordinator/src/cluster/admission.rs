//! How a coordinator is taken into the cluster: its token is spent, it gets a number and what it
//! needs to know whom it belongs to.
//!
//! The KEK goes along when this member has it in a file, sealed to a key that the newcomer made for
//! this one answer: whoever holds a coordinator token may become a coordinator, and a coordinator
//! holds the KEK. A KEK from elsewhere must be there already. A witness gets none, and a
//! certificate instead, which it could not make.
//!
//! Whoever did not hear the answer asks again, with the same token and the same key, and is told
//! the same: it is one member, however often it asked.

use crate::{
    cluster::join::KEK_CONTEXT,
    house::{House, Keys},
    identity::pki::{self, Holder, Spending},
    region::{Epoch, Standing},
};
use holdfast_common::{Code, Error, Name, Result, record};
use holdfast_keyring::{KekSource, grant};
use holdfast_ledger::{
    Actor,
    command::{AdmitMember, Outcome},
    level::{LEVEL_FIRST, insist_on_known},
    row::{Duty, MemberRole, MemberRow, TokenKind},
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
    let (duty, kind) = match request.witness {
        true => (Duty::Witness, TokenKind::Witness),
        false => (Duty::Data, TokenKind::Coordinator),
    };
    let spending = pki::spending(house, &request.token, kind, &key).await?;
    let level_max = request.level_max.max(LEVEL_FIRST);
    insist_on_known(house.ledger.query().level()?, level_max)?;
    let keys = house.keys()?;
    let (kek_source, sealed_kek) = match duty {
        Duty::Data => {
            (keys.custodian.kek_source().to_string(), sealed_kek(house, keys, &one_time)?)
        }
        Duty::Witness => (String::new(), Vec::new()),
    };
    let wanted = Wanted { name: name.clone(), region, duty, learner: request.learner };
    let node_id = match spending {
        Spending::Now(token_hash) => {
            let command = wanted.command(token_hash, request.address, &key, level_max);
            agree(house, command).await.map_err(|error| pki::another(error, kind))?
        }
        Spending::Before(Holder::Member(row)) if wanted.is(&row) => row.id,
        Spending::Before(_) => return Err(pki::another(pki::used(), kind)),
    };
    tracing::info!(member = %name, node_id, ?duty, "admitted");
    let certificate = match duty {
        Duty::Data => Vec::new(),
        Duty::Witness => pki::certify_witness(house, node_id, &key)?,
    };
    let peers = house.ledger.query().members()?.into_iter().filter(|row| row.is_live());
    let standing = house.ledger.peers().standing();
    let is_first = standing.epoch == Epoch::first();
    let standing = Standing::of(standing.epoch, true);
    Ok(v1::JoinMemberResponse {
        epoch: if is_first { Vec::new() } else { record::to_bytes(&standing) }.into(),
        node_id,
        cluster: record::to_bytes(&house.ledger.query().cluster()?).into(),
        kek_source,
        sealed_kek: sealed_kek.into(),
        peers: peers
            .filter(|row| row.id != node_id)
            .map(|row| v1::MemberAddress { id: row.id, address: row.address })
            .collect(),
        certificate_der: certificate.into(),
    })
}

/// What a newcomer asks to be.
struct Wanted {
    name: Name,
    region: Name,
    duty: Duty,
    learner: bool,
}

impl Wanted {
    /// Whether it was admitted as that before.
    fn is(&self, row: &MemberRow) -> bool {
        self.name == row.name && self.region == row.region && self.duty == row.duty
    }

    fn command(
        self,
        token_hash: [u8; 32],
        address: String,
        key: &ProvenKey,
        level_max: u32,
    ) -> AdmitMember {
        AdmitMember {
            token_hash,
            name: self.name,
            region: self.region,
            address,
            duty: self.duty,
            role: if self.learner { MemberRole::Learner } else { MemberRole::Candidate },
            identity_public: *key.as_bytes(),
            level_max: Some(level_max),
        }
    }
}

async fn agree(house: &House, command: AdmitMember) -> Result<u64> {
    match house.ledger.propose(Actor::Token, command).await? {
        Outcome::Number(node_id) => Ok(node_id),
        _ => Err(Error::new(Code::InternalBug, "a new member got no number")),
    }
}

fn sealed_kek(house: &House, keys: &Keys, one_time: &[u8; 32]) -> Result<Vec<u8>> {
    let source = keys.custodian.kek_source();
    let (KekSource::File(path) | KekSource::PassphraseFile(path)) = source else {
        return Ok(Vec::new());
    };
    let kek = files::read_private(&path)?;
    grant::seal_to(one_time, KEK_CONTEXT, &kek, house.entropy.as_ref())
}
