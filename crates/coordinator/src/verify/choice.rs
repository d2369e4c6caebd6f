//! Which points a verification is about: some by name, or all of them, however many there are.

use holdfast_common::{Name, Result, VaultId};
use holdfast_ledger::{Query, row::PointRow};
use holdfast_wire::{parse, v1};

pub(super) enum Choice {
    /// All points, or all of one policy.
    Every(Option<Name>),
    These(Vec<PointRow>),
}

impl Choice {
    pub(super) fn parse(query: Query<'_>, request: &v1::VerifyObjectsRequest) -> Result<Self> {
        if request.points.is_empty() {
            return Ok(Self::Every(parse::name_if_any(request.policy.as_deref())?));
        }
        let ids = request.points.iter().map(|id| parse::point_id(id));
        ids.map(|id| query.point(&id?)).collect::<Result<_>>().map(Self::These)
    }

    /// Nothing is left out.
    pub(super) fn is_everything(&self) -> bool {
        matches!(self, Self::Every(None))
    }

    pub(super) fn includes(&self, point: &PointRow) -> bool {
        match self {
            Self::Every(Some(policy)) => point.policy.as_ref() == Some(policy),
            Self::Every(None) => true,
            Self::These(points) => points.iter().any(|one| one.id == point.id),
        }
    }

    /// Those in one vault. They are read as they are asked for: nobody holds them all.
    pub(super) fn points<'a>(
        &'a self,
        query: Query<'a>,
        vault: VaultId,
    ) -> Box<dyn Iterator<Item = Result<PointRow>> + Send + 'a> {
        let fits = move |row: &Result<PointRow>| match row {
            Ok(point) => point.vault == vault && self.includes(point),
            Err(_) => true,
        };
        match self {
            Self::Every(_) => Box::new(query.points(None).filter(fits)),
            Self::These(points) => Box::new(points.iter().cloned().map(Ok).filter(fits)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, MANY, VAULT, id, name};

    fn chosen(request: &v1::VerifyObjectsRequest, vault: VaultId) -> Vec<[u8; 16]> {
        let mut crowd = Crowd::default().gathered();
        crowd.point(1, |row| row.policy = Some(name("nightly")));
        crowd.point(2, |row| row.vault = VaultId::from_bytes([0xbb; 16]));
        crowd.ask(|query| {
            let choice = Choice::parse(query, request).unwrap();
            choice.points(query, vault).map(|row| *row.unwrap().id.as_bytes()).collect()
        })
    }

    #[test]
    fn all_points_are_all_of_the_vault_and_not_a_page_of_them() {
        let all = chosen(&v1::VerifyObjectsRequest::default(), VAULT);
        assert_eq!(all.len() as u64, MANY + 1);
        assert_eq!(all.last(), Some(&id(1)));
        let elsewhere = VaultId::from_bytes([0xbb; 16]);
        assert_eq!(chosen(&v1::VerifyObjectsRequest::default(), elsewhere), [id(2)]);
    }

    #[test]
    fn a_policy_or_a_list_of_points_limits_the_choice() {
        let policy = Some("nightly".to_owned());
        let request = v1::VerifyObjectsRequest { policy, ..Default::default() };
        assert_eq!(chosen(&request, VAULT), [id(1)]);
        let points = [1, 2, 100].map(|number| id(number).to_vec().into()).to_vec();
        let request = v1::VerifyObjectsRequest { points, ..Default::default() };
        assert_eq!(chosen(&request, VAULT), [id(1), id(100)]);
    }
}
