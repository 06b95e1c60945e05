// Registers the element. What it does is in its own file.
import { SheafPage } from './sheaf-page.ts'

customElements.define('sheaf-page', SheafPage)
