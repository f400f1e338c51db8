// The tables of configurations, with their models. The families are compiled apart, in family.cpp.
#include "training.hpp"

#include "families.hpp"

namespace experiments {

namespace {

template <class... Each>
comparison compiled(const table<Each...>& own) {
  return {own.name, own.description, {configuration_of<Each>()...}};
}

#ifdef STRATA_FAMILIES
template <class... Family>
comparison all_sizes(const family_list<Family...>&) {
  comparison all{"families", "families of models, each in several sizes, for equal budgets", {}};
  const auto add = [&](const std::vector<configuration>& sizes) {
    all.configurations.insert(all.configurations.end(), sizes.begin(), sizes.end());
  };
  (add(sizes_of<Family>()), ...);
  return all;
}
#endif

}  // namespace

const std::vector<comparison>& all_comparisons() {
  static const auto all = [] {
    auto own = std::apply([](const auto&... each) { return std::vector{compiled(each)...}; }, every_table);
#ifdef STRATA_FAMILIES
    own.push_back(all_sizes(families()));
#endif
    return own;
  }();
  return all;
}

}  // namespace experiments
