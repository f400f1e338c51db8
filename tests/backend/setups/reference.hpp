// How the reference backend is tested: once, in float.
#pragma once

#include <string>

#include <strata/reference.hpp>

using tested = strata::reference<float>;

/// Calls `action(backend, name)`.
template <class Action>
void on_every_setup(setups which, Action action) {
  if (which == setups::of_bfloat16) return;
  tested backend;
  action(backend, std::string("reference"));
}
