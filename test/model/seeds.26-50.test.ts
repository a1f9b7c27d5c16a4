import { testSeeds } from "./testSeeds.ts"

testSeeds(26, 50)
