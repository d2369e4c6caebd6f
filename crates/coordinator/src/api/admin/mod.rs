//! What operators do: one call a method, the work in files by theme.

mod audit_log;
mod bundle;
mod checks;
mod cluster;
mod collection;
mod copies;
mod destroy;
mod failback;
mod keys;
mod listing;
mod locations;
mod locks;
mod operators;
mod region;
mod resources;
mod retention;
mod runs;
mod shredding;
mod status;

pub(crate) use cluster::{next_leader, overview, transfer};
pub(crate) use resources::preview;
pub(crate) use status::own_alarms;

use super::{caller, refuse, render};
use crate::{house::House, identity::pki};
use futures::Stream;
use holdfast_common::{Result, limits};
use holdfast_ledger::{
    command::{CancelRun, RevokeAgent, VerifyBundle},
    row::{AgentDuty, TokenKind},
};
use holdfast_runtime::{
    tasks::{OnError, Tasks},
    tls::ConnectInfo,
};
use holdfast_wire::{
    parse,
    v1::{self, admin_server::Admin},
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

pub(crate) struct AdminService {
    pub(crate) house: Arc<House>,
    pub(crate) tasks: Tasks,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(refuse)
}

#[tonic::async_trait]
impl Admin for AdminService {
    type FailbackRegionStream = Events<v1::FailbackRegionEvent>;
    type PlanCollectionStream = Events<v1::PlanCollectionEvent>;
    type PlanRetentionStream = Events<v1::RetentionEvent>;
    type FollowRunStream = Events<v1::RunEvent>;
    type VerifyObjectsStream = Events<v1::VerifyEvent>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        answer(status::status(&self.house).await)
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Answer<v1::ApplyResponse> {
        let actor = caller(&request).actor();
        answer(resources::apply(&self.house, actor, request.into_inner()).await)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        answer(resources::list(&self.house, request.get_ref()))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Answer<v1::DeleteResponse> {
        let actor = caller(&request).actor();
        answer(resources::delete(&self.house, actor, request.into_inner()).await)
    }

    async fn test_location(
        &self,
        request: Request<v1::TestLocationRequest>,
    ) -> Answer<v1::TestLocationResponse> {
        let actor = caller(&request).actor();
        answer(locations::test(&self.house, actor, request.into_inner()).await)
    }

    async fn add_location(
        &self,
        request: Request<v1::AddLocationRequest>,
    ) -> Answer<v1::AddLocationResponse> {
        let actor = caller(&request).actor();
        answer(locations::add(&self.house, actor, request.into_inner()).await)
    }

    async fn list_locations(
        &self,
        _: Request<v1::ListLocationsRequest>,
    ) -> Answer<v1::ListLocationsResponse> {
        answer(locations::list(&self.house).await)
    }

    async fn list_keys(&self, _: Request<v1::ListKeysRequest>) -> Answer<v1::ListKeysResponse> {
        answer(keys::list(&self.house).await)
    }

    async fn plan_keys(
        &self,
        request: Request<v1::PlanKeysRequest>,
    ) -> Answer<v1::PlanKeysResponse> {
        answer(keys::plan(&self.house, request.get_ref()).await)
    }

    async fn rewrap_keys(
        &self,
        request: Request<v1::RewrapKeysRequest>,
    ) -> Answer<v1::RewrapKeysResponse> {
        let actor = caller(&request).actor();
        answer(keys::rewrap(&self.house, actor, request.into_inner()).await)
    }

    async fn rotate_keys(
        &self,
        request: Request<v1::RotateKeysRequest>,
    ) -> Answer<v1::RotateKeysResponse> {
        let actor = caller(&request).actor();
        answer(keys::rotate(&self.house, actor, request.into_inner()).await)
    }

    async fn ask_destroy(
        &self,
        request: Request<v1::AskDestroyRequest>,
    ) -> Answer<v1::AskDestroyResponse> {
        let actor = caller(&request).actor();
        answer(destroy::ask(&self.house, actor, request.get_ref()).await)
    }

    async fn destroy_keys(
        &self,
        request: Request<v1::DestroyKeysRequest>,
    ) -> Answer<v1::DestroyKeysResponse> {
        let actor = caller(&request).actor();
        answer(destroy::agree(&self.house, actor, request.get_ref()).await)
    }

    async fn withdraw_destroy(
        &self,
        request: Request<v1::WithdrawDestroyRequest>,
    ) -> Answer<v1::WithdrawDestroyResponse> {
        let actor = caller(&request).actor();
        answer(destroy::withdraw(&self.house, actor, request.get_ref()).await)
    }

    async fn close_keys(
        &self,
        request: Request<v1::CloseKeysRequest>,
    ) -> Answer<v1::CloseKeysResponse> {
        let actor = caller(&request).actor();
        answer(shredding::close(&self.house, actor, request.get_ref()).await)
    }

    async fn plan_key_destruction(
        &self,
        request: Request<v1::PlanKeyDestructionRequest>,
    ) -> Answer<v1::PlanKeyDestructionResponse> {
        answer(shredding::plan(&self.house, request.get_ref()).await)
    }

    async fn disable_location(
        &self,
        request: Request<v1::DisableLocationRequest>,
    ) -> Answer<v1::DisableLocationResponse> {
        let actor = caller(&request).actor();
        answer(locations::disable(&self.house, actor, request.into_inner()).await)
    }

    async fn enable_location(
        &self,
        request: Request<v1::EnableLocationRequest>,
    ) -> Answer<v1::EnableLocationResponse> {
        let actor = caller(&request).actor();
        answer(locations::enable(&self.house, actor, request.into_inner()).await)
    }

    async fn replace_location(
        &self,
        request: Request<v1::ReplaceLocationRequest>,
    ) -> Answer<v1::ReplaceLocationResponse> {
        let actor = caller(&request).actor();
        answer(locations::replace(&self.house, actor, request.into_inner()).await)
    }

    async fn rebuild_location(
        &self,
        request: Request<v1::RebuildLocationRequest>,
    ) -> Answer<v1::RebuildLocationResponse> {
        let actor = caller(&request).actor();
        answer(copies::rebuild(&self.house, actor, request.into_inner()).await)
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let actor = caller(&request).actor();
        let request = request.into_inner();
        let ttl = match request.ttl_ms {
            0 => Duration::from_secs(limits::TOKEN_TTL_SECS),
            ms => Duration::from_millis(ms),
        };
        let labels = request.labels.into_iter().collect();
        let kind = match (request.for_member, request.witness) {
            (true, true) => TokenKind::Witness,
            (true, false) => TokenKind::Coordinator,
            (false, _) => TokenKind::Agent,
        };
        let verifier = request.verifier;
        let purpose = pki::Purpose { kind, duty: verifier.then_some(AgentDuty::Verifier), labels };
        let made = pki::create_token(&self.house, actor, purpose, ttl).await;
        answer(made.map(|(token, expires)| v1::CreateTokenResponse {
            token,
            expires_ns: expires.as_nanos(),
            verifier,
        }))
    }

    async fn list_agents(
        &self,
        _: Request<v1::ListAgentsRequest>,
    ) -> Answer<v1::ListAgentsResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        answer(status::agents(&self.house).map(|agents| v1::ListAgentsResponse { agents }))
    }

    async fn revoke_agent(
        &self,
        request: Request<v1::RevokeAgentRequest>,
    ) -> Answer<v1::RevokeAgentResponse> {
        let actor = caller(&request).actor();
        let revoked = async {
            let agent = runs::find_agent(&self.house, &request.get_ref().agent)?;
            self.house.ledger.propose(actor, RevokeAgent { agent: agent.id }).await?;
            self.house.hub.drop_agent(&agent.id);
            (self.house.close_agent)(agent.id);
            Ok(v1::RevokeAgentResponse {})
        };
        answer(revoked.await)
    }

    async fn issue_operator(
        &self,
        request: Request<v1::IssueOperatorRequest>,
    ) -> Answer<v1::IssueOperatorResponse> {
        let actor = caller(&request).actor();
        answer(operators::issue(&self.house, actor, request.get_ref()).await)
    }

    async fn list_operators(
        &self,
        _: Request<v1::ListOperatorsRequest>,
    ) -> Answer<v1::ListOperatorsResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        answer(operators::list(&self.house))
    }

    async fn renew_operator(
        &self,
        request: Request<v1::RenewOperatorRequest>,
    ) -> Answer<v1::RenewOperatorResponse> {
        let peer = request.extensions().get::<ConnectInfo>().and_then(|info| info.peer.clone());
        answer(operators::renew(&self.house, peer.as_deref()).await)
    }

    async fn revoke_operator(
        &self,
        request: Request<v1::RevokeOperatorRequest>,
    ) -> Answer<v1::RevokeOperatorResponse> {
        let actor = caller(&request).actor();
        answer(operators::revoke(&self.house, actor, request.get_ref()).await)
    }

    async fn start_backup(
        &self,
        request: Request<v1::StartBackupRequest>,
    ) -> Answer<v1::StartBackupResponse> {
        let actor = caller(&request).actor();
        answer(runs::start(&self.house, actor, request.into_inner()).await)
    }

    async fn start_restore(
        &self,
        request: Request<v1::StartRestoreRequest>,
    ) -> Answer<v1::StartRestoreResponse> {
        let actor = caller(&request).actor();
        answer(runs::start_restore(&self.house, actor, request.into_inner()).await)
    }

    async fn start_verify(
        &self,
        request: Request<v1::StartVerifyRequest>,
    ) -> Answer<v1::StartVerifyResponse> {
        let actor = caller(&request).actor();
        answer(runs::start_verify(&self.house, actor, request.into_inner()).await)
    }

    async fn follow_run(
        &self,
        request: Request<v1::FollowRunRequest>,
    ) -> Answer<Events<v1::RunEvent>> {
        let run = parse::run_id(&request.get_ref().run_id).map_err(refuse)?;
        self.house.ledger.catch_up().await.map_err(refuse)?;
        let (events, receiver) = mpsc::channel(8);
        let (house, token) = (self.house.clone(), self.tasks.token().clone());
        self.tasks.spawn("follow", OnError::Log, async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = runs::follow(&house, run, events) => {}
            }
            Ok(())
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Answer<v1::CancelRunResponse> {
        let actor = caller(&request).actor();
        let cancelled = async {
            let run = parse::run_id(&request.get_ref().run_id)?;
            self.house.ledger.propose(actor, CancelRun { run }).await?;
            Ok(v1::CancelRunResponse {})
        };
        answer(cancelled.await)
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Answer<v1::ListRunsResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        let (house, request) = (self.house.clone(), request.into_inner());
        let list = move || listing::runs(&house, &request);
        answer(self.tasks.run_blocking("list runs", list).await)
    }

    async fn list_points(
        &self,
        request: Request<v1::ListPointsRequest>,
    ) -> Answer<v1::ListPointsResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        let (house, request) = (self.house.clone(), request.into_inner());
        let list = move || listing::points(&house, &request);
        answer(self.tasks.run_blocking("list points", list).await)
    }

    async fn verify_objects(
        &self,
        request: Request<v1::VerifyObjectsRequest>,
    ) -> Answer<Events<v1::VerifyEvent>> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        let request = crate::verify::Request::parse(&self.house, request.into_inner());
        let request = request.map_err(refuse)?;
        let (events, receiver) = mpsc::channel(8);
        let (house, token) = (self.house.clone(), self.tasks.token().clone());
        self.tasks.spawn("verify", OnError::Log, async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = crate::verify::verify(&house, request, events) => {}
            }
            Ok(())
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn export_bundle(
        &self,
        request: Request<v1::ExportBundleRequest>,
    ) -> Answer<v1::ExportBundleResponse> {
        let (house, actor) = (self.house.clone(), caller(&request).actor());
        let passphrase = request.into_inner().passphrase;
        answer(bundle::hand_out(&house, &self.tasks, actor, passphrase).await)
    }

    async fn complete_bundle(
        &self,
        request: Request<v1::CompleteBundleRequest>,
    ) -> Answer<v1::CompleteBundleResponse> {
        let actor = caller(&request).actor();
        let completed = bundle::complete(&self.house, actor, request.get_ref()).await;
        answer(completed.map(|()| v1::CompleteBundleResponse {}))
    }

    async fn verify_bundle(
        &self,
        request: Request<v1::VerifyBundleRequest>,
    ) -> Answer<v1::VerifyBundleResponse> {
        let actor = caller(&request).actor();
        let verified = async {
            let bundle = parse::array("the bundle's hash", &request.get_ref().bundle_hash)?;
            self.house.ledger.propose(actor, VerifyBundle { bundle }).await?;
            Ok(v1::VerifyBundleResponse {})
        };
        answer(verified.await)
    }

    async fn confirm_clock(
        &self,
        request: Request<v1::ConfirmClockRequest>,
    ) -> Answer<v1::ConfirmClockResponse> {
        let confirmed = self.house.ledger.confirm_clock(caller(&request).actor()).await;
        answer(confirmed.map(|now| v1::ConfirmClockResponse { now_ns: now.as_nanos() }))
    }

    async fn place_member(
        &self,
        request: Request<v1::PlaceMemberRequest>,
    ) -> Answer<v1::PlaceMemberResponse> {
        let actor = caller(&request).actor();
        answer(cluster::place(&self.house, actor, request.into_inner()).await)
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Answer<v1::RemoveMemberResponse> {
        let actor = caller(&request).actor();
        answer(cluster::remove(&self.house, actor, request.into_inner()).await)
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Answer<v1::TransferLeaderResponse> {
        answer(cluster::transfer(&self.house, request.into_inner()).await)
    }

    async fn regions(&self, request: Request<v1::RegionsRequest>) -> Answer<v1::RegionsResponse> {
        answer(region::regions(&self.house, request.get_ref()).await)
    }

    async fn promote_region(
        &self,
        request: Request<v1::PromoteRegionRequest>,
    ) -> Answer<v1::PromoteRegionResponse> {
        let actor = caller(&request).actor();
        answer(region::take_lead(&self.house, &actor, request.into_inner()).await)
    }

    async fn fence_region(
        &self,
        request: Request<v1::FenceRegionRequest>,
    ) -> Answer<v1::FenceRegionResponse> {
        let actor = caller(&request).actor();
        answer(region::fence(&self.house, &actor, request.get_ref()).await)
    }

    async fn failback_region(
        &self,
        request: Request<v1::FailbackRegionRequest>,
    ) -> Answer<Events<v1::FailbackRegionEvent>> {
        let actor = caller(&request).actor();
        let (events, receiver) = mpsc::channel(8);
        let (house, token) = (self.house.clone(), self.tasks.token().clone());
        self.tasks.spawn("failback", OnError::Log, async move {
            tokio::select! {
                () = token.cancelled() => {}
                // Nobody hears how it ends: it is typed again, and goes on.
                () = events.closed() => {}
                () = failback::fail_back(&house, actor, request.into_inner(), &events) => {}
            }
            Ok(())
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn forget_region(
        &self,
        request: Request<v1::ForgetRegionRequest>,
    ) -> Answer<v1::ForgetRegionResponse> {
        let actor = caller(&request).actor();
        answer(failback::forget(&self.house, actor, request.into_inner()).await)
    }

    async fn settle_region(
        &self,
        request: Request<v1::SettleRegionRequest>,
    ) -> Answer<v1::SettleRegionResponse> {
        let actor = caller(&request).actor();
        answer(failback::settle(&self.house, actor, request.into_inner()).await)
    }

    async fn plan_retention(
        &self,
        request: Request<v1::PlanRetentionRequest>,
    ) -> Answer<Events<v1::RetentionEvent>> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        let (events, receiver) = mpsc::channel(8);
        let (house, token) = (self.house.clone(), self.tasks.token().clone());
        self.tasks.spawn("retention plan", OnError::Log, async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = events.closed() => {}
                () = retention::plan(&house, request.into_inner(), &events) => {}
            }
            Ok(())
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn forget_points(
        &self,
        request: Request<v1::ForgetPointsRequest>,
    ) -> Answer<v1::ForgetPointsResponse> {
        let actor = caller(&request).actor();
        answer(retention::forget(&self.house, actor, request.into_inner()).await)
    }

    async fn add_hold(&self, request: Request<v1::AddHoldRequest>) -> Answer<v1::AddHoldResponse> {
        let actor = caller(&request).actor();
        answer(retention::add_hold(&self.house, actor, request.into_inner()).await)
    }

    async fn list_holds(
        &self,
        request: Request<v1::ListHoldsRequest>,
    ) -> Answer<v1::ListHoldsResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        answer(retention::holds(&self.house, request.get_ref()))
    }

    async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Answer<v1::ReleaseHoldResponse> {
        let actor = caller(&request).actor();
        answer(retention::release_hold(&self.house, actor, request.into_inner()).await)
    }

    async fn plan_collection(
        &self,
        request: Request<v1::PlanCollectionRequest>,
    ) -> Answer<Events<v1::PlanCollectionEvent>> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        let (events, receiver) = mpsc::channel(8);
        let (house, token) = (self.house.clone(), self.tasks.token().clone());
        self.tasks.spawn("collection plan", OnError::Log, async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = events.closed() => {}
                () = collection::plan(&house, request.into_inner(), &events) => {}
            }
            Ok(())
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn collect(&self, request: Request<v1::CollectRequest>) -> Answer<v1::CollectResponse> {
        let actor = caller(&request).actor();
        answer(collection::begin(&self.house, actor, request.get_ref()).await)
    }

    async fn list_collections(
        &self,
        request: Request<v1::ListCollectionsRequest>,
    ) -> Answer<v1::ListCollectionsResponse> {
        self.house.ledger.catch_up().await.map_err(refuse)?;
        answer(collection::list(&self.house, request.get_ref()).await)
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Answer<v1::ListAuditResponse> {
        answer(audit_log::list(&self.house, request.get_ref()).await)
    }

    async fn verify_audit(
        &self,
        _: Request<v1::VerifyAuditRequest>,
    ) -> Answer<v1::VerifyAuditResponse> {
        answer(audit_log::verify(&self.house).await)
    }

    async fn keep_audit(
        &self,
        request: Request<v1::KeepAuditRequest>,
    ) -> Answer<v1::KeepAuditResponse> {
        let actor = caller(&request).actor();
        answer(audit_log::keep(&self.house, actor, request.into_inner()).await)
    }
}
