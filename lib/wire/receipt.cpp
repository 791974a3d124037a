#include "wire/receipt.hpp"
