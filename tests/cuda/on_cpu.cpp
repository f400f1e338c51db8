// The cpu backend's results, with which the cuda backend is compared.
#include <strata/cpu.hpp>

#include "cuda/training.hpp"

namespace device_models {

template <class Model>
outcome train_and_write_on_cpu(index_type steps, strata::weight_format format, strata::optimizer_kind optimizer) {
  strata::cpu backend({.threads = 1});
  return train_and_write<Model>(backend, steps, format, optimizer);
}
template outcome train_and_write_on_cpu<many_things>(index_type, strata::weight_format, strata::optimizer_kind);
template outcome train_and_write_on_cpu<attends_to_levels>(index_type, strata::weight_format, strata::optimizer_kind);
template outcome train_and_write_on_cpu<separable>(index_type, strata::weight_format, strata::optimizer_kind);
template outcome train_and_write_on_cpu<shifts_levels>(index_type, strata::weight_format, strata::optimizer_kind);
template outcome train_and_write_on_cpu<shortens>(index_type, strata::weight_format, strata::optimizer_kind);
template outcome train_and_write_on_cpu<decides>(index_type, strata::weight_format, strata::optimizer_kind);

std::vector<double> losses_between_changes_on_cpu() {
  strata::cpu backend({.threads = 1});
  return losses_between_changes(backend);
}

}  // namespace device_models
