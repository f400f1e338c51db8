// The models of one family, STRATA_FAMILY. CMake compiles this file once for each family.
#include "families.hpp"
#include "training.hpp"

namespace experiments {

namespace {

template <class Family, int... Number>
std::vector<configuration> compiled(std::integer_sequence<int, Number...>) {
  return {configuration_of<member<Family, Number>>()...};
}

}  // namespace

template <>
std::vector<configuration> sizes_of<STRATA_FAMILY>() {
  return compiled<STRATA_FAMILY>(std::make_integer_sequence<int, STRATA_FAMILY::sizes>());
}

}  // namespace experiments
