//! `Requests`: what has been asked of a device and not answered yet. A tag names a place in a table and how often that place
//! has been used, so that an answer to something else is found out.

use crate::error::Error;
use alloc::vec;
use alloc::vec::Vec;

/// One read under way.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Landing slot.
    pub slot: usize,
    /// Where in the device.
    pub offset: u64,
    /// Where to.
    pub to: *mut u8,
    /// How much.
    pub bytes: usize,
    /// Whether it has failed once already.
    pub is_retry: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    request: Option<Request>,
    n_use: u16,
}

/// The table. Its size bounds the requests at a time.
#[derive(Debug)]
pub struct Requests {
    places: Vec<Place>,
    free: Vec<u16>,
}

impl Requests {
    /// Room for `n_max` requests, at most 65,536.
    pub fn new(n_max: usize) -> Requests {
        let n = n_max.min(1 << 16);
        Requests {
            places: vec![Place { request: None, n_use: 0 }; n],
            free: (0..n).rev().map(|place| place as u16).collect(),
        }
    }

    /// Requests under way.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Notes a request, and gives it a tag. There is room.
    pub fn add(&mut self, request: Request) -> u32 {
        let at = self.free.pop().expect("has_room was asked");
        let place = &mut self.places[at as usize];
        place.request = Some(request);
        u32::from(place.n_use) << 16 | u32::from(at)
    }

    /// Takes the request that a tag names.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTag`] if no request under way has it.
    pub fn take(&mut self, tag: u32) -> Result<Request, Error> {
        let (at, n_use) = (tag as u16, (tag >> 16) as u16);
        let place = self.places.get_mut(at as usize).filter(|place| place.n_use == n_use);
        let Some((place, request)) = place.and_then(|place| place.request.take().map(|request| (place, request)))
        else {
            return Err(Error::UnknownTag { tag });
        };
        place.n_use = place.n_use.wrapping_add(1);
        self.free.push(at);
        Ok(request)
    }
}
