//! The members' side: who calls is a member of this cluster, and means this one.

use super::{access::Caller, caller, own_alarms, refuse};
use crate::{
    agents::doubles,
    house::House,
    keys::change,
    raft::{Incoming, LeaderTime},
    region::{self, Epoch},
};
use holdfast_common::{Code, Error, Result, Timestamp, record};
use holdfast_ledger::{
    Actor, Command,
    row::{Duty, MemberState},
};
use holdfast_runtime::tasks::Tasks;
use holdfast_wire::{
    parse,
    status::from_status,
    v1::{self, raft_server::Raft, snapshot_part::Part},
};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct RaftService {
    pub(crate) house: Arc<House>,
    pub(crate) tasks: Tasks,
}

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(refuse)
}

impl RaftService {
    /// Who asks, and of which epoch: one that is over is refused, whatever its vote or its term.
    async fn insist(&self, caller: &Caller, header: Option<&v1::PeerHeader>) -> Result<u64> {
        let member = self.identify(caller, header)?;
        let told = header.and_then(|header| header.epoch.as_ref());
        self.house.meet(member, told).await?;
        match self.house.ledger.query().member(member) {
            Ok(row) if row.state == MemberState::Superseded => {
                Err(self.house.ledger.peers().standing().epoch.supersedes())
            }
            _ => Ok(member),
        }
    }

    async fn admit<T: Sync>(
        &self,
        request: &Request<T>,
        header: Option<&v1::PeerHeader>,
    ) -> Result<u64, Status> {
        self.insist(&caller(request), header).await.map_err(refuse)
    }

    /// Members with data speak for whoever called them; a witness for itself, and of little.
    fn insist_on_say(&self, member: u64, actor: &Actor, command: &Command) -> Result<()> {
        let row = match self.house.ledger.query().member(member) {
            Err(error) if error.code == Code::MemberMissing => {
                // What was agreed before this member led may not be applied yet.
                let message = format!("member {member} is not known here yet");
                return Err(Error::new(Code::ClusterLeaderless, message));
            }
            row => row?,
        };
        let is_own = *actor == Actor::System && command.is_for_witness_to_say(member);
        if row.duty == Duty::Data || is_own {
            return Ok(());
        }
        let message = format!("`{}` is a witness: this is not for it to propose", row.name);
        Err(Error::new(Code::AuthDenied, message))
    }

    /// What the header says is what the certificate says, and it means us.
    fn identify(&self, caller: &Caller, header: Option<&v1::PeerHeader>) -> Result<u64> {
        let Some(header) = header else {
            return Err(Error::new(Code::UsageMalformed, "the message lacks its header"));
        };
        let Caller::Member(member) = caller else {
            return Err(Error::new(Code::AuthDenied, "only a member may call this"));
        };
        let house = &self.house;
        if header.cluster_id != house.cluster.as_bytes()[..] || header.from != *member {
            return Err(Error::new(Code::AuthDenied, "the caller is not who it says it is"));
        }
        if header.to != house.node_id {
            let message = format!("this is member {}, not {}", house.node_id, header.to);
            return Err(Error::new(Code::ClusterUnreachable, message));
        }
        Ok(*member)
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn append(&self, request: Request<v1::AppendRequest>) -> Answer<v1::AppendResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        answer(self.house.ledger.take_entries(request.into_inner()).await)
    }

    async fn vote(&self, request: Request<v1::VoteRequest>) -> Answer<v1::VoteResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        answer(self.house.ledger.give_vote(request.into_inner()).await)
    }

    async fn pre_vote(&self, request: Request<v1::VoteRequest>) -> Answer<v1::VoteResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        answer(self.house.ledger.would_vote(request.into_inner()).await)
    }

    async fn take_over(
        &self,
        request: Request<v1::TakeOverRequest>,
    ) -> Answer<v1::TakeOverResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        answer(self.house.ledger.take_over(request.into_inner()).await)
    }

    async fn snapshot_offset(
        &self,
        request: Request<v1::SnapshotOffsetRequest>,
    ) -> Answer<v1::SnapshotOffsetResponse> {
        let offset = async {
            self.insist(&caller(&request), request.get_ref().header.as_ref()).await?;
            let hash = parse::array("the snapshot's hash", &request.get_ref().hash)?;
            Ok(Incoming::offset(&self.house.ledger.snapshots(), &hash))
        };
        answer(offset.await.map(|offset| v1::SnapshotOffsetResponse { offset }))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotPart>>,
    ) -> Answer<v1::SendSnapshotResponse> {
        let caller = caller(&request);
        answer(self.receive(&caller, request.into_inner()).await)
    }

    async fn propose(&self, request: Request<v1::ProposeRequest>) -> Answer<v1::ProposeResponse> {
        let proposed = async {
            let member = self.insist(&caller(&request), request.get_ref().header.as_ref()).await?;
            let request = request.get_ref();
            let key = parse::array("the key", &request.key)?;
            let actor = record::from_bytes("actor", &request.actor)?;
            let command = record::from_bytes("command", &request.command)?;
            self.insist_on_say(member, &actor, &command)?;
            let (index, reply) = self.house.ledger.agree(key, &actor, &command).await?;
            Ok(v1::ProposeResponse { index, reply: record::to_bytes(&reply).into() })
        };
        answer(proposed.await)
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Answer<v1::ReadIndexResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        let index = self.house.ledger.read_index().await;
        let LeaderTime { now, wall } = self.house.ledger.own_time();
        answer(index.map(|index| v1::ReadIndexResponse {
            index,
            time_ns: now.as_nanos(),
            wall_ns: wall.map(Timestamp::as_nanos),
        }))
    }

    async fn await_shipped(
        &self,
        request: Request<v1::AwaitShippedRequest>,
    ) -> Answer<v1::AwaitShippedResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        let shipped = self.house.shipped_here(request.get_ref().index).await;
        answer(shipped.map(|shipped| v1::AwaitShippedResponse { shipped }))
    }

    async fn has_kek(&self, request: Request<v1::HasKekRequest>) -> Answer<v1::HasKekResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        let v1::HasKekRequest { source, derivation, kek_id, .. } = request.into_inner();
        let kek = parse::array("the KEK's id", &kek_id).map_err(refuse)?;
        let has = change::insist_on_having(&self.house, &source, &derivation, &kek).await;
        answer(has.map(|()| v1::HasKekResponse {}))
    }

    async fn overview(
        &self,
        request: Request<v1::OverviewRequest>,
    ) -> Answer<v1::OverviewResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        answer(self.house.ledger.overview())
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Answer<v1::TransferResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        let handed = self.house.ledger.hand_over(request.get_ref().to_node).await;
        answer(handed.map(|()| v1::TransferResponse {}))
    }

    async fn progress(
        &self,
        request: Request<v1::ProgressRequest>,
    ) -> Answer<v1::ProgressResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        let run = parse::run_id(&request.get_ref().run_id).map_err(refuse)?;
        Ok(Response::new(v1::ProgressResponse { progress: self.house.hub.progress(&run) }))
    }

    async fn rivals(&self, request: Request<v1::RivalsRequest>) -> Answer<v1::RivalsResponse> {
        self.admit(&request, request.get_ref().header.as_ref()).await?;
        let asked = request.get_ref();
        let agent = parse::agent_id(&asked.agent_id).map_err(refuse)?;
        let lines = doubles::asked(&self.house, agent, asked);
        Ok(Response::new(v1::RivalsResponse { lines }))
    }

    /// Answered to members of every epoch: it is how each hears of the newest one.
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Answer<v1::HelloResponse> {
        let caller = caller(&request);
        let header = request.get_ref().header.clone();
        let member = self.identify(&caller, header.as_ref()).map_err(refuse)?;
        if self.heeds_removal(member, header.as_ref()).map_err(refuse)? {
            return answer(self.greeting().await);
        }
        let is_ours = self.insist(&caller, header.as_ref()).await.is_ok();
        let address = request.into_inner().address;
        match address.as_str() {
            "" => {}
            _ if is_ours => {
                crate::cluster::members::moved(&self.house, &self.tasks, member, address)
            }
            // One that was superseded is found again when it is to come back.
            _ => self.house.ledger.peers().learn(member, &address),
        }
        answer(self.greeting().await)
    }

    /// Asked by the side that superseded this one, when it is to come back.
    async fn remnant(&self, request: Request<v1::RemnantRequest>) -> Answer<v1::RemnantResponse> {
        let told = async {
            self.insist_on_newer(&caller(&request), request.get_ref().header.as_ref())?;
            region::tell(&self.house, request.get_ref().after).await
        };
        answer(told.await)
    }
}

impl RaftService {
    /// Who asks is of the epoch that superseded this member.
    fn insist_on_newer(&self, caller: &Caller, header: Option<&v1::PeerHeader>) -> Result<()> {
        self.identify(caller, header)?;
        let told = header.and_then(|header| header.epoch.as_ref());
        let standing = self.house.ledger.peers().standing();
        if !standing.belongs && Epoch::from_wire(told)?.number == standing.epoch.number {
            return Ok(());
        }
        Err(Error::new(Code::AuthDenied, "this is for the side that superseded this member"))
    }

    /// Whether a member that was removed is still to hear of the epoch it was removed in: one of a
    /// region that was forgotten would go on with its own as soon as it is up. Nothing that it says
    /// itself is believed.
    fn heeds_removal(&self, member: u64, header: Option<&v1::PeerHeader>) -> Result<bool> {
        let row = match self.house.ledger.query().member(member) {
            Ok(row) if row.state == MemberState::Removed => row,
            _ => return Ok(false),
        };
        let ours = self.house.ledger.peers().standing();
        let told = Epoch::from_wire(header.and_then(|header| header.epoch.as_ref()))?;
        if ours.belongs && !ours.epoch.is_of(&row.region) && told.number < ours.epoch.number {
            return Ok(true);
        }
        Err(Error::new(Code::MemberRemoved, format!("the member `{}` was removed", row.name)))
    }

    async fn greeting(&self) -> Result<v1::HelloResponse> {
        let ledger = &self.house.ledger;
        let (state, standing) = (ledger.state(), ledger.peers().standing());
        let (last_term, last) = ledger.end_of_log().await?;
        let contact = ledger.peers().since_contact();
        Ok(v1::HelloResponse {
            leader: state.leader.unwrap_or(0),
            applied: state.applied,
            epoch: ledger.peers().tell_epoch(),
            superseded: !standing.belongs,
            region: self.house.region.to_string(),
            last,
            last_term,
            term: state.term,
            contact_ms: contact.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            alarms: own_alarms(&self.house),
            level_max: ledger.level_max(),
        })
    }
}

impl RaftService {
    async fn receive(
        &self,
        caller: &Caller,
        mut parts: Streaming<v1::SnapshotPart>,
    ) -> Result<v1::SendSnapshotResponse> {
        let Some(Part::Header(head)) = next(&mut parts).await? else {
            return Err(Error::new(Code::UsageMalformed, "a snapshot begins with its header"));
        };
        self.insist(caller, head.header.as_ref()).await?;
        let hash = parse::array("the snapshot's hash", &head.hash)?;
        let directory = self.house.ledger.snapshots();
        let begin = move || Incoming::begin(&directory, hash, head.length, head.offset);
        let mut incoming = self.tasks.run_blocking("snapshot", begin).await?;
        while let Some(part) = next(&mut parts).await? {
            let Part::Data(data) = part else {
                return Err(Error::new(Code::UsageMalformed, "a snapshot has one header"));
            };
            let push = move || incoming.push(&data).map(|()| incoming);
            incoming = self.tasks.run_blocking("snapshot", push).await?;
        }
        self.house.ledger.install(head.vote, incoming).await
    }
}

async fn next(parts: &mut Streaming<v1::SnapshotPart>) -> Result<Option<Part>> {
    let part = parts.message().await.map_err(|status| from_status(&status))?;
    part.map(|part| parse::required("a part", part.part)).transpose()
}
