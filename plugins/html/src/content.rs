//! Tells a page's main content from the menus, banners and sidebars around it.
//!
//! What the author marked counts first: `main`, then `article`. Where nothing is marked, it is
//! the innermost container with nearly all the prose of the page, prose being text outside of
//! links. Whatever is found has to hold a quarter of the prose, or the whole page is taken:
//! too much is better than nothing.

use crate::element::Kind;
use crate::tree::{ElementId, Page, ROOT};

/// The share of a page's prose that a container must hold to pass for the content, in percent.
const NEARLY_ALL: u64 = 90;

/// The share of a page's prose that content must hold at least, in percent.
const ENOUGH: u64 = 25;

/// Returns the elements that hold the main content, ascending and none inside another.
pub fn main_content(page: &Page) -> Vec<ElementId> {
    for kind in [Kind::Main, Kind::Article] {
        let found = outermost(page, kind);
        let prose = found.iter().map(|id| prose(page, *id)).sum();
        if !found.is_empty() && is_share(prose, page, ENOUGH) {
            return found;
        }
    }
    vec![densest(page)]
}

/// Returns the elements of a kind that show and are in no other of the kind.
fn outermost(page: &Page, kind: Kind) -> Vec<ElementId> {
    let mut found = Vec::new();
    // Parents stand before their children: what holds for them is known.
    let mut done = vec![false; page.elements.len()];
    for (id, element) in page.elements.iter().enumerate().skip(1) {
        done[id] = done[element.parent as usize] || element.dropped;
        if element.kind == kind && !done[id] && element.n_chars != 0 {
            found.push(id as ElementId);
            done[id] = true;
        }
    }
    found
}

/// Returns the innermost container with nearly all of the prose and all first headings.
fn densest(page: &Page) -> ElementId {
    let mut heaviest: Vec<Option<ElementId>> = vec![None; page.elements.len()];
    for (id, element) in page.elements.iter().enumerate().skip(1).filter(|(_, element)| !element.dropped) {
        let best = &mut heaviest[element.parent as usize];
        if best.is_none_or(|best| prose(page, best) < u64::from(element.prose())) {
            *best = Some(id as ElementId);
        }
    }
    let mut densest = ROOT;
    let mut at = ROOT;
    while let Some(next) = heaviest[at as usize] {
        let element = &page.elements[next as usize];
        let loses_title = element.n_titles < page.elements[ROOT as usize].n_titles;
        if loses_title || !is_share(prose(page, next), page, NEARLY_ALL) {
            break;
        }
        if element.kind == Kind::Container || element.kind == Kind::Cell && element.holds_blocks {
            densest = next;
        }
        at = next;
    }
    densest
}

fn prose(page: &Page, id: ElementId) -> u64 {
    page.elements[id as usize].prose().into()
}

/// Returns whether `prose` is at least so many percent of all that the page has.
fn is_share(prose: u64, page: &Page, percent: u64) -> bool {
    prose * 100 >= self::prose(page, ROOT) * percent
}
