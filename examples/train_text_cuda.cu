// train_text on the device cuda.
#include "cuda_device.hpp"
#include "train_text.hpp"

namespace train_text {

int on_cuda(const program_options& options, const given_options& given) {
  return train<examples::cuda_device>(options, given);
}

}  // namespace train_text
