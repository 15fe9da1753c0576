//! An exchange ends: it is told, or counted.

use super::{Answer, Open, Pairs, Pending};
use crate::model::{EndedBy, Incomplete, KtimeNs};

/// What may follow the captured part of a head until it surely was none: servers refuse heads of more than 8 to 32 KiB.
const MAX_UNFRAMED_BYTES: u64 = 64 * 1024;

impl Pairs<'_> {
    /// The request being sent is whole.
    pub fn end_request(&mut self) {
        let open = std::mem::replace(&mut self.pairing.open, Open::None);
        let Some(request) = self.pairing.pending.back_mut().filter(|_| open == Open::Known) else { return };
        request.is_complete = true;
        if let Some(early) = request.early.take()
            && let Some(request) = self.pairing.pending.pop_back()
        {
            let (answer, how) = *early;
            self.tell(request, Some(answer), how);
        }
    }

    /// The response at hand ended in a way that its framing does not tell.
    pub fn end_response(&mut self, how: EndedBy) {
        let Some(answer) = self.pairing.answer.take() else { return };
        let certain = self.pairing.pending.len() == 1 || answer.surplus.is_some() || answer.is_nameless;
        if how == EndedBy::Close || certain {
            self.finish(answer, how);
        } else {
            self.drop_pending(Incomplete::CaptureCut);
        }
    }

    /// The responses of everything that waits were missed.
    pub fn lose_responses(&mut self) {
        if let Some(reason) = self.pairing.answers_lost.take() {
            self.pairing.answer = None;
            self.drop_pending(reason);
        }
    }

    /// The connection is over, or forgotten: `how` and, for what was not answered, `reason`.
    pub fn close(&mut self, how: EndedBy, reason: Incomplete) {
        self.end_request();
        self.end_response(how);
        self.lose_responses();
        while let Some(request) = self.pairing.pending.pop_front() {
            match self.pairing.suspect.filter(|_| self.pairing.is_pipelined) {
                Some(doubt) => self.out.incomplete.add(doubt, 1),
                None => self.tell_unanswered(request, reason),
            }
        }
        let doubt = self.pairing.suspect.unwrap_or(Incomplete::CaptureCut);
        self.out.incomplete.add(doubt, std::mem::take(&mut self.pairing.hidden));
    }

    /// Nobody answered: told if it surely was a request.
    fn tell_unanswered(&mut self, mut request: Pending, reason: Incomplete) {
        if let Some(doubt) = request.doubt() {
            return self.out.incomplete.add(doubt, 1);
        }
        request.exchange.incomplete = Some(reason);
        self.tell(request, None, EndedBy::Close);
    }

    fn drop_pending(&mut self, reason: Incomplete) {
        let waiting = u64::try_from(self.pairing.pending.len()).unwrap_or_default();
        self.out.incomplete.add(reason, waiting);
        if self.pairing.open == Open::Known {
            self.pairing.open = Open::None;
        }
        self.pairing.pending.clear();
    }

    /// A response is whole: its request is the oldest that waits.
    fn finish(&mut self, answer: Answer, how: EndedBy) {
        self.pairing.is_over |= answer.is_last;
        if let Some(reason) = answer.surplus {
            self.pairing.hidden = self.pairing.hidden.saturating_sub(1);
            self.out.incomplete.add(reason, 1);
            return;
        }
        match self.pairing.pending.front_mut() {
            Some(request) if !answer.is_nameless && !request.is_complete => {
                request.early = Some(Box::new((answer, how)));
                return;
            }
            _ => {}
        }
        let Some(request) = self.pairing.pending.pop_front() else { return };
        if answer.is_nameless {
            self.out.incomplete.add(answer.cut.unwrap_or(Incomplete::CaptureCut), 1);
        } else {
            self.tell(request, Some(answer), how);
        }
    }

    fn tell(&mut self, request: Pending, answer: Option<Answer>, ended_by: EndedBy) {
        let Pending { mut exchange, has_version, .. } = request;
        if let Some(answer) = answer {
            exchange.end = answer.last;
            exchange.incomplete = exchange.incomplete.or(answer.cut);
            exchange.http.status = answer.status;
            exchange.http.response_body_bytes = answer.body_bytes;
            if !has_version {
                exchange.http.version = answer.version;
            }
        }
        exchange.end = exchange.end.max(exchange.start);
        exchange.ended_by = ended_by;
        self.out.tell(exchange);
    }

    pub(super) fn end_answer(&mut self, time: KtimeNs) {
        let Some(mut answer) = self.pairing.answer.take() else { return };
        answer.last = answer.last.max(time);
        if !answer.is_interim {
            self.finish(answer, EndedBy::Framing);
        }
    }
}

impl Pending {
    /// Why it may have been no request, as long as nobody answered it.
    fn doubt(&self) -> Option<Incomplete> {
        match self.exchange.incomplete? {
            reason @ (Incomplete::Invalid | Incomplete::Evicted) => Some(reason),
            reason if !self.has_version => Some(reason),
            _ if self.unframed_bytes > MAX_UNFRAMED_BYTES && !self.has_framing => Some(Incomplete::Invalid),
            _ => None,
        }
    }
}
